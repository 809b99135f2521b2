"""The page that explains how to write a provisioner: its code is run, and passes the conformance suite."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from libbucket import (
    AccessDenied,
    AdminSecretMissing,
    BucketExists,
    BucketLost,
    InvalidAdminSecret,
    InvalidParameters,
    Provisioner,
    ProvisionerError,
    SecretStr,
    Services,
    StoreUnavailable,
)
from libbucket._cli.scaffold import render
from libbucket.testing import builders
from libbucket.testing.binaries import kubectl_binary
from libbucket.testing.conformance import Backend, Conformance
from libbucket.testing.http_store import HttpStore, http_store
from libbucket.testing.misbehaving import Answer, closed_port_url, scripted_server
from libbucket.testing.provisioner_process import provisioner_process

from .conftest import ROOT, blocks, commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from libbucket import HttpApi, HttpClient
    from libbucket.testing.admin import KubeAdmin
    from libbucket.testing.controlplane import ControlPlane

PAGE = ROOT / "docs" / "writing-a-provisioner.md"
TOKEN = "a-secret-token"
PACKAGE = "depot_provisioner"


def run_page() -> dict[str, Any]:
    """Runs the blocks one after the other in one namespace."""
    made: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(blocks(PAGE, "python"), start=1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), made)
    return made


DEPOT = run_page()


def parameters_for(url: str) -> dict[str, str]:
    return {"endpoint": url, "secretName": "depot-admin", "secretNamespace": "kube-system"}


def a_provisioner(secret: Mapping[str, str] | None = None) -> Provisioner:
    """The one of the page; `secret` is what the administrator's Secret holds."""
    held = {"DEPOT_TOKEN": TOKEN} if secret is None else secret

    def read_secret(namespace: str, name: str) -> Mapping[str, SecretStr]:
        if (namespace, name) != ("kube-system", "depot-admin"):
            raise AdminSecretMissing(f"no Secret {namespace}/{name}")
        return {key: SecretStr(value) for key, value in held.items()}

    made = DEPOT["ListingProvisioner"](Services(read_secret=read_secret))
    assert isinstance(made, Provisioner)
    return made


def template_of_a_backend() -> dict[str, Any]:
    """The backend that `libbucket new` writes, over the provisioner of the page in place of the package's own."""

    modules = {name: ModuleType(f"{PACKAGE}.{name}") for name in ("client", "provisioner")}
    vars(modules["client"])["API"] = DEPOT["API"]
    vars(modules["provisioner"])["DepotProvisioner"] = DEPOT["ListingProvisioner"]
    namespace: dict[str, Any] = {"__name__": "page_backend"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, PACKAGE, ModuleType(PACKAGE))
        for name, module in modules.items():
            patch.setitem(sys.modules, f"{PACKAGE}.{name}", module)
        exec(compile(dict(render("depot"))["tests/store/backend.py"], "backend.py", "exec"), namespace)
    return namespace


TEMPLATE = template_of_a_backend()


class TestDepot(Conformance):
    @pytest.fixture
    def backend(self, store: HttpStore) -> Backend:
        made = TEMPLATE["DepotBackend"](store.url, store.token)
        assert isinstance(made, Backend)
        return made


@pytest.fixture(scope="module")
def store() -> Iterator[HttpStore]:
    with http_store(TOKEN) as running:
        yield running


@pytest.fixture
def admin(store: HttpStore) -> HttpClient:
    """Requests as the administrator, out of band."""
    api: HttpApi = DEPOT["API"]
    return api.connect(store.url, lambda: None, headers={"Authorization": f"Bearer {store.token}"})


def test_the_claim_lifecycle_of_the_page_succeeds(store: HttpStore, admin: HttpClient) -> None:
    provisioner = a_provisioner()
    request = builders.options(parameters=parameters_for(store.url), config={"maxObjects": "1k"})

    answer = provisioner.provision(request)
    found = admin.request("GET", "buckets", request.bucket_name).json()
    assert (request.owner.matches(found["tags"]), found["max_objects"]) == (True, 1000)
    assert provisioner.provision(builders.again(request, answer)) == answer

    provisioner.delete(builders.recorded(answer, request))
    assert admin.request("GET", "buckets", request.bucket_name, accept={404}).status == 404
    assert admin.request("GET", "users", request.user_id, accept={404}).status == 404


def test_errors_are_reported_as_documented(store: HttpStore) -> None:
    request = builders.options(parameters=parameters_for(store.url))
    with pytest.raises(AccessDenied, match="administrator's credentials"):
        a_provisioner({"DEPOT_TOKEN": "wrong"}).provision(request)
    with pytest.raises(InvalidAdminSecret, match="DEPOT_TOKEN"):
        a_provisioner({}).provision(request)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        a_provisioner().provision(builders.options(parameters=parameters_for(closed_port_url())))
    with pytest.raises(InvalidParameters) as refused:
        a_provisioner().provision(builders.options(parameters={"endpoint": "relative"}))
    assert len(refused.value.mistakes) == 3
    assert a_provisioner().provision(request).warnings == ()


def test_a_bucket_that_was_bound_is_lost_and_one_that_another_program_bound_is_not_taken(store: HttpStore) -> None:
    request = builders.options(parameters=parameters_for(store.url))
    with pytest.raises(BucketLost):
        a_provisioner().provision(builders.bound(request))
    a_provisioner().provision(request)
    other = builders.options(parameters=parameters_for(store.url), bucket_name=request.bucket_name)
    with pytest.raises(BucketExists):
        a_provisioner().provision(builders.taken_over(other))


def test_an_unknown_parameter_becomes_a_warning(store: HttpStore) -> None:
    answer = a_provisioner().provision(builders.options(parameters={**parameters_for(store.url), "regoin": "there"}))

    assert ["regoin" in warning for warning in answer.warnings] == [True]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (Answer(status=301), "InvalidParameters"),
        (Answer(status=429), "Throttled"),
        (Answer(status=503, headers={"Retry-After": "7"}), "Throttled"),
        (Answer(status=503), "StoreUnavailable"),
        (Answer(status=408), "StoreUnavailable"),
        (Answer(status=401), "AccessDenied"),
        (Answer(status=403), "AccessDenied"),
        (Answer(status=409), "StoreRefused"),
    ],
)
def test_the_table_of_statuses_says_what_the_client_raises(answer: Answer, name: str) -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and f"`{name}`" in line]
    named = (
        str(answer.status)
        if answer.status not in {301, 409}
        else {301: "3xx", 409: "every other status"}[answer.status]
    )
    with scripted_server(answer) as server:
        client = DEPOT["API"].connect(server.url, lambda: None)
        with client, pytest.raises(ProvisionerError) as refused:
            client.request("PUT", "buckets", "photos")

    assert type(refused.value).__name__ == name
    assert any(named in row or (answer.status == 503 and "5xx" in row) for row in rows)


def test_every_step_of_the_contract_has_its_heading() -> None:
    headings = [line.lstrip("# ") for line in PAGE.read_text().splitlines() if line.startswith("#")]
    steps = [
        "Layout",
        "The client",
        "The contract",
        "provision",
        "delete",
        "grant",
        "revoke",
        "Errors",
        "Parameters",
        "Testing",
    ]
    steps += ["Credentials, and the ObjectBucket to return", "The administrator's Secret", "Packaging", "A first claim"]

    assert [step for step in steps if step not in headings] == []


@pytest.fixture
def workplace(control_plane: ControlPlane, store: HttpStore, tmp_path: Path) -> Iterator[Path]:
    """A folder with everything that the page has the reader put there; the store is the one of this test."""
    for name, text in {"provisioner.py": "\n\n".join(blocks(PAGE, "python")), **page_manifests()}.items():
        (tmp_path / name).write_text(text.replace("http://127.0.0.1:8900", store.url))
    (tmp_path / "crds").symlink_to(ROOT / "crds")
    yield tmp_path
    admin = control_plane.admin
    admin.delete("/apis/storage.k8s.io/v1/storageclasses/depot")
    admin.delete("/api/v1/namespaces/kube-system/secrets/depot-admin")


def page_manifests() -> dict[str, str]:
    """The YAML files of the page, by the name in their first line."""
    return {block.splitlines()[0].removeprefix("# "): block for block in blocks(PAGE, "yaml")}


def enter(line: str, workplace: Path, kubeconfig: Path) -> None:
    """Runs a line of the page as its reader would."""
    programs = {"python": sys.executable, "kubectl": str(kubectl_binary())}
    program, *arguments = shlex.split(line)
    subprocess.run(
        [programs[program], *arguments],
        cwd=workplace,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        check=True,
        timeout=120,
    )


def administrators_lines() -> list[str]:
    return [line for line in commands(PAGE, "kubectl") if "crds/" in line or "depot-admin" in line]


@pytest.mark.parametrize("name", ["class.yaml", "claim.yaml"])
def test_the_manifests_of_the_page_are_valid(name: str, kube_admin: KubeAdmin) -> None:
    body = yaml.safe_load(page_manifests()[name])
    path = kube_admin.path_of(body).rpartition("/")[0]

    assert kube_admin.create(f"{path}?dryRun=All&fieldValidation=Strict", body)["kind"] == body["kind"]


@pytest.mark.parametrize("spelling", range(2))
def test_the_first_claim_is_provisioned_and_deleted(
    spelling: int, workplace: Path, control_plane: ControlPlane, store: HttpStore
) -> None:
    before = store.names
    for line in [*administrators_lines(), "kubectl apply -f class.yaml"]:
        enter(line, workplace, control_plane.kubeconfig)
    start = [line for line in commands(PAGE, "python") if line.startswith("python provisioner.py")][spelling]
    # The process adds the kubeconfig; what the other spelling has besides stays as it is printed.
    flags = [flag for flag in shlex.split(start)[2:] if flag in {"-alsologtostderr", "-v=2"}]

    with provisioner_process(
        [sys.executable, workplace / "provisioner.py", *flags], kubeconfig=control_plane.kubeconfig
    ):
        for line in commands(PAGE, "kubectl"):
            if "photos" in line or "claim.yaml" in line:
                enter(line, workplace, control_plane.kubeconfig)

    assert store.names == before
