"""How Google is reached, who the administrator is, and every way to get it wrong."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from gcs_backend import QUICK, GcsBackend, a_provisioner

from gcs_provisioner.provisioner import GcsProvisioner
from libbucket import (
    AccessDenied,
    AdminSecretMissing,
    InvalidParameters,
    ProvisionerError,
    RetrySlowly,
    Services,
    StoreUnavailable,
    Throttled,
)
from libbucket.testing import builders
from libbucket.testing.conformance.world import World, assert_works
from libbucket.testing.misbehaving import Answer, scripted_server, silent_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcs_double import GcsDouble

    from libbucket import SecretStr

ADMIN = {"secretName": "admin", "secretNamespace": "gcs"}


def refused_by_all(provisioner: GcsProvisioner, *, looks: bool = True, **parameters: str) -> list[ProvisionerError]:
    """What each verb says, and a look too, which asks by the claim's key and needs no administrator."""
    request = builders.options(parameters={**ADMIN, **parameters}, credentials=builders.access_keys())
    record = builders.intent(request)
    errors = []
    verbs: list[Callable[[], object]] = [
        lambda: provisioner.provision(request),
        lambda: provisioner.grant(request),
        lambda: provisioner.delete(record),
        lambda: provisioner.revoke(record),
    ]
    if looks:
        verbs.append(lambda: provisioner.is_intact(request))
    for verb in verbs:
        with pytest.raises(ProvisionerError) as refused:
            verb()
        errors.append(refused.value)
    return errors


def test_a_server_that_never_answers_is_given_up_within_the_limit(double: GcsDouble, backend: GcsBackend) -> None:
    impatient = a_provisioner(double, backend.admin_key, patience=replace(QUICK, read=0.2))
    with silent_server() as server:
        began = time.monotonic()
        errors = refused_by_all(impatient, endpoint=server.url, iamEndpoint=server.url)
        assert time.monotonic() - began < 10
        assert server.connections == len(errors), "nothing is tried again"
    assert {type(each) for each in errors} == {StoreUnavailable}
    assert all("time limit" in each.message for each in errors)


def test_a_token_endpoint_that_never_answers_is_given_up_within_the_limit(
    double: GcsDouble, backend: GcsBackend
) -> None:
    with silent_server() as server:
        key = json.dumps({**json.loads(backend.admin_key), "token_uri": server.url})
        impatient = a_provisioner(double, key, patience=replace(QUICK, read=0.2))
        began = time.monotonic()
        errors = refused_by_all(impatient, looks=False, endpoint=double.url, iamEndpoint=double.url)
        assert time.monotonic() - began < 10
        assert server.connections == 4, "nothing is tried again"
    assert {type(each) for each in errors} == {StoreUnavailable}


@pytest.mark.parametrize("status", [429, 503])
def test_the_delay_that_a_busy_server_asks_for_is_kept(double: GcsDouble, backend: GcsBackend, status: int) -> None:
    with scripted_server(Answer(status=status, headers={"Retry-After": "7"}, body=b"{}")) as server:
        for error in refused_by_all(a_provisioner(double, backend.admin_key), endpoint=server.url):
            assert isinstance(error, Throttled)
            assert error.delay == 7


def test_a_busy_token_endpoint_is_not_waited_for_either(double: GcsDouble, backend: GcsBackend) -> None:
    with scripted_server(Answer(status=503, headers={"Retry-After": "9"}, body=b"{}")) as server:
        key = json.dumps({**json.loads(backend.admin_key), "token_uri": server.url})
        with pytest.raises(Throttled) as refused:
            a_provisioner(double, key).provision(builders.options(parameters={**ADMIN, "endpoint": double.url}))
        assert refused.value.delay == 9
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"<html>Welcome</html>", headers={"Content-Type": "text/html"}),
        Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        Answer(status=405, body=b"<html>no</html>"),
    ],
    ids=["page", "redirect", "refusal"],
)
def test_a_web_page_is_told_from_google(double: GcsDouble, backend: GcsBackend, answer: Answer) -> None:
    with scripted_server(answer) as server:
        for error in refused_by_all(
            a_provisioner(double, backend.admin_key), endpoint=server.url, iamEndpoint=server.url
        ):
            assert type(error) is RetrySlowly
            assert "endpoint" in error.message


def test_nobody_listening_is_the_stores_failure(double: GcsDouble, backend: GcsBackend) -> None:
    with silent_server() as server:
        pass
    for error in refused_by_all(a_provisioner(double, backend.admin_key), endpoint=server.url):
        assert type(error) is StoreUnavailable


def test_a_key_that_google_does_not_know_is_named(double: GcsDouble) -> None:
    key = json.loads(double.add_admin("removed"))
    del double.store.accounts[key["client_email"]]
    unknown = a_provisioner(double, json.dumps(key))
    for error in refused_by_all(unknown, looks=False, endpoint=double.url, iamEndpoint=double.url):
        assert isinstance(error, AccessDenied)
        assert "secretName" in error.message


def test_a_named_secret_that_is_missing_is_no_reason_to_use_the_pods_identity(
    double: GcsDouble, backend: GcsBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    def missing(namespace: str, name: str) -> Mapping[str, SecretStr]:
        raise AdminSecretMissing(f"Secret {namespace}/{name} does not exist")

    _give_pod_an_identity(monkeypatch, backend, tmp_path)
    provisioner = GcsProvisioner(Services(read_secret=missing), patience=QUICK)
    with pytest.raises(AdminSecretMissing):
        provisioner.provision(builders.options(parameters={**ADMIN, "endpoint": double.url, "iamEndpoint": double.url}))


def test_a_class_without_a_secret_uses_the_pods_identity(
    world: World, backend: GcsBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    _give_pod_an_identity(monkeypatch, backend, tmp_path)
    tenant = world.greenfield(world.request(parameters={"secretName": "", "secretNamespace": ""}))
    assert_works(tenant)
    world.delete(tenant.record)
    assert not world.administrator.bucket_exists(tenant.bucket)


def test_a_class_without_a_secret_on_a_pod_without_an_identity_says_so(
    double: GcsDouble, backend: GcsBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    request = builders.options(parameters={"endpoint": double.url, "iamEndpoint": double.url})
    with pytest.raises(AccessDenied, match="secretName"):
        a_provisioner(double, backend.admin_key).provision(request)


def test_an_emulator_that_the_environment_names_is_not_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(Answer(status=500)) as emulator:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
        request = world.request()
        answer = world.provisioner.provision(request)
        world.delete(builders.recorded(answer, request))
        assert emulator.requests == []


def test_the_project_of_the_class_wins_and_one_must_be_named(double: GcsDouble) -> None:
    key = {**json.loads(double.add_admin("provisioner-2")), "project_id": ""}
    provisioner = a_provisioner(double, json.dumps(key))
    parameters = {**ADMIN, "endpoint": double.url, "iamEndpoint": double.url}
    with pytest.raises(InvalidParameters, match="project"):
        provisioner.provision(builders.options(parameters=parameters))
    request = builders.options(parameters={**parameters, "project": double.project})
    answer = provisioner.provision(request)
    assert answer.additional_state["ServiceAccount"].endswith(f"@{double.project}.iam.gserviceaccount.com")


def test_applications_are_told_the_endpoint(world: World, double: GcsDouble) -> None:
    endpoint = world.greenfield().answer.connection.endpoint
    assert f"http://{endpoint.bucket_host}:{endpoint.bucket_port}" == double.url
    assert endpoint.additional_config == {"BUCKET_SSL": "false", "BUCKET_ENDPOINT": double.url}
    assert endpoint.region == "us"


def _give_pod_an_identity(monkeypatch: pytest.MonkeyPatch, backend: GcsBackend, folder: object) -> None:
    from pathlib import Path

    path = Path(str(folder)) / "key.json"
    path.write_text(backend.admin_key)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
