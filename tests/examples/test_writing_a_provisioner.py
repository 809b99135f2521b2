"""The page that explains how to write a provisioner: its code is run, and passes the conformance suite."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from libbucket import (
    AccessDenied,
    AdminSecretMissing,
    InvalidAdminSecret,
    InvalidParameters,
    Provisioner,
    SecretStr,
    Services,
    StoreUnavailable,
)
from libbucket.testing import builders
from libbucket.testing.application import Application, Refused
from libbucket.testing.binaries import kubectl_binary
from libbucket.testing.conformance import Ability, Administrator, Backend, Capabilities, Conformance
from libbucket.testing.provisioner_process import provisioner_process

from .conftest import ROOT, blocks, commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from libbucket import Authentication, Endpoint, ObjectBucket
    from libbucket.testing.admin import KubeAdmin
    from libbucket.testing.controlplane import ControlPlane

PAGE = ROOT / "docs" / "writing-a-provisioner.md"
TOKEN = "a-secret-token"


def run_page() -> dict[str, Any]:
    """Runs the blocks one after the other in one namespace."""
    made: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(blocks(PAGE, "python"), start=1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), made)
    return made


SHELF = run_page()


def parameters_for(path: Path) -> dict[str, str]:
    return {"path": str(path), "secretName": "shelf-admin", "secretNamespace": "kube-system"}


def a_provisioner(secret: Mapping[str, str] | None = None) -> Provisioner:
    """The one of the page; `secret` is what the administrator's Secret holds."""
    held = {"SHELF_TOKEN": TOKEN} if secret is None else secret

    def read_secret(namespace: str, name: str) -> Mapping[str, SecretStr]:
        if (namespace, name) != ("kube-system", "shelf-admin"):
            raise AdminSecretMissing(f"no Secret {namespace}/{name}")
        return {key: SecretStr(value) for key, value in held.items()}

    made = SHELF["CarefulShelfProvisioner"](Services(read_secret=read_secret))
    assert isinstance(made, Provisioner)
    return made


class Database:
    """Statements on the file of a shelf."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = OFF")
            return db.execute(sql, values).fetchall()

    def has(self, sql: str, *values: object) -> bool:
        return bool(self.rows(sql, *values))


class ShelfApplication(Application):
    """A client with a user's id and secret; None is the administrator."""

    def __init__(self, db: Database, keys: tuple[str, str] | None) -> None:
        self._db = db
        self._keys = keys

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self._check(bucket)
        self._db.rows("INSERT OR REPLACE INTO object VALUES (?, ?, ?)", bucket, key, data)

    def get(self, bucket: str, key: str) -> bytes:
        self._check(bucket)
        found = self._db.rows("SELECT data FROM object WHERE bucket = ? AND key = ?", bucket, key)
        return bytes(found[0][0])

    def list_keys(self, bucket: str) -> list[str]:
        self._check(bucket)
        return [key for (key,) in self._db.rows("SELECT key FROM object WHERE bucket = ? ORDER BY key", bucket)]

    def delete(self, bucket: str, key: str) -> None:
        self._check(bucket)
        self._db.rows("DELETE FROM object WHERE bucket = ? AND key = ?", bucket, key)

    def batch_delete(self, bucket: str, keys: Sequence[str]) -> None:
        for key in keys:
            self.delete(bucket, key)

    def copy(self, source_bucket: str, source_key: str, bucket: str, key: str) -> None:
        self.put(bucket, key, self.get(source_bucket, source_key))

    def remove_bucket(self, bucket: str) -> None:
        if self._keys is not None:
            raise Refused("only the administrator removes a bucket")
        self._db.rows("DELETE FROM bucket WHERE name = ?", bucket)

    def _check(self, bucket: str) -> None:
        allowed = "SELECT 1 FROM user WHERE id = ? AND secret = ? AND bucket = ?"
        if self._keys is not None and not self._db.has(allowed, *self._keys, bucket):
            raise Refused(bucket)


class ShelfAdministrator(Administrator):
    def __init__(self, db: Database) -> None:
        self._db = db

    def application(self) -> Application:
        return ShelfApplication(self._db, None)

    def make_bucket(self, name: str) -> None:
        self._db.rows("INSERT INTO bucket VALUES (?, NULL, NULL)", name)

    def purge_bucket(self, name: str) -> None:
        self._db.rows("DELETE FROM object WHERE bucket = ?", name)
        self._db.rows("DELETE FROM bucket WHERE name = ?", name)

    def bucket_exists(self, name: str) -> bool:
        return self._db.has("SELECT 1 FROM bucket WHERE name = ?", name)

    def identity_exists(self, record: ObjectBucket) -> bool:
        return self._db.has("SELECT 1 FROM user WHERE id = ?", record.user_id)

    def remove_identity(self, record: ObjectBucket) -> None:
        self._db.rows("DELETE FROM user WHERE id = ?", record.user_id)

    def settings(self, bucket: str) -> Mapping[str, object]:
        return {"row": self._db.rows("SELECT * FROM bucket WHERE name = ?", bucket)}

    def config(self, bucket: str, key: str) -> str | None:
        assert key == "maxObjects"
        limit = self._db.rows("SELECT max_objects FROM bucket WHERE name = ?", bucket)[0][0]
        return None if limit is None else str(limit)

    def set_config(self, bucket: str, key: str, value: str) -> None:
        assert key == "maxObjects"
        self._db.rows("UPDATE bucket SET max_objects = ? WHERE name = ?", int(value), bucket)


class ShelfBackend(Backend):
    many_objects = 1100  # more than one batch
    capabilities = Capabilities(
        cannot={
            Ability.MULTIPART: "an object is written in one go",
            Ability.PRESIGNED: "a file has no URLs",
            Ability.ANONYMOUS: "a file has no URLs",
            Ability.LIST_BUCKETS: "a user knows one bucket",
            Ability.VERSIONS: "an object has one version",
            Ability.TAKEOVER: "no other program ever made one",
            Ability.REPORTED_REPAIRS: "the example is short",
        },
        config={"maxObjects": {"5": "5", "1k": "1000"}},
    )

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = Database(path)

    @property
    def parameters(self) -> Mapping[str, str]:
        return parameters_for(self._path)

    @property
    def administrator(self) -> Administrator:
        return ShelfAdministrator(self._db)

    def provisioner(self) -> Provisioner:
        return a_provisioner()

    def application(self, endpoint: Endpoint, credentials: Authentication) -> Application:
        keys = credentials.access_keys
        assert keys is not None
        assert endpoint.additional_config["BUCKET_PATH"] == str(self._path)
        return ShelfApplication(self._db, (keys.access_key_id, keys.secret_access_key.reveal()))


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    path = tmp_path / "shelf.db"
    SHELF["Shelf"].create(str(path), TOKEN)
    return path


class TestShelf(Conformance):
    @pytest.fixture
    def backend(self, shelf: Path) -> Backend:
        return ShelfBackend(shelf)


def test_the_claim_lifecycle_of_the_page_succeeds(shelf: Path) -> None:
    provisioner, db = a_provisioner(), Database(shelf)
    request = builders.options(parameters=parameters_for(shelf), config={"maxObjects": "1k"})

    answer = provisioner.provision(request)
    tags, limit = db.rows("SELECT tags, max_objects FROM bucket WHERE name = ?", request.bucket_name)[0]
    assert (request.owner.matches(json.loads(tags)), limit) == (True, 1000)
    assert provisioner.provision(builders.again(request, answer)) == answer

    provisioner.delete(builders.recorded(answer, request))
    assert not db.has("SELECT 1 FROM bucket UNION SELECT 1 FROM user")


def test_errors_are_reported_as_documented(shelf: Path) -> None:
    request = builders.options(parameters=parameters_for(shelf))
    with pytest.raises(AccessDenied, match="kube-system/shelf-admin"):
        a_provisioner({"SHELF_TOKEN": "wrong"}).provision(request)
    with pytest.raises(InvalidAdminSecret, match="SHELF_TOKEN"):
        a_provisioner({}).provision(request)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        a_provisioner().provision(builders.options(parameters=parameters_for(shelf.with_name("none.db"))))
    with pytest.raises(InvalidParameters) as refused:
        a_provisioner().provision(builders.options(parameters={"path": "relative"}))
    assert len(refused.value.mistakes) == 3
    assert a_provisioner().provision(request).warnings == ()


def test_an_unknown_parameter_becomes_a_warning(shelf: Path) -> None:
    answer = a_provisioner().provision(builders.options(parameters={**parameters_for(shelf), "regoin": "there"}))

    assert ["regoin" in warning for warning in answer.warnings] == [True]


def test_every_step_of_the_contract_has_its_heading() -> None:
    headings = [line.lstrip("# ") for line in PAGE.read_text().splitlines() if line.startswith("#")]
    steps = ["Layout", "The contract", "provision", "delete", "grant", "revoke", "Errors", "Parameters", "Testing"]
    steps += ["Credentials, and the ObjectBucket to return", "The administrator's Secret", "Packaging", "A first claim"]

    assert [step for step in steps if step not in headings] == []


@pytest.fixture
def workplace(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Path]:
    """A folder with everything that the page has the reader put there; `/tmp` is a folder of this test, too."""
    for name, text in {"provisioner.py": "\n\n".join(blocks(PAGE, "python")), **page_manifests()}.items():
        (tmp_path / name).write_text(text.replace("/tmp/", f"{tmp_path}/"))
    (tmp_path / "crds").symlink_to(ROOT / "crds")
    yield tmp_path
    admin = control_plane.admin
    admin.delete("/apis/storage.k8s.io/v1/storageclasses/shelf")
    admin.delete("/api/v1/namespaces/kube-system/secrets/shelf-admin")


def page_manifests() -> dict[str, str]:
    """The YAML files of the page, by the name in their first line."""
    return {block.splitlines()[0].removeprefix("# "): block for block in blocks(PAGE, "yaml")}


def enter(line: str, workplace: Path, kubeconfig: Path) -> None:
    """Runs a line of the page as its reader would."""
    programs = {"python": sys.executable, "kubectl": str(kubectl_binary())}
    program, *arguments = shlex.split(line.replace("/tmp/", f"{workplace}/"))
    subprocess.run(
        [programs[program], *arguments],
        cwd=workplace,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        check=True,
        timeout=120,
    )


def administrators_lines() -> list[str]:
    lines = [*commands(PAGE, "python"), *commands(PAGE, "kubectl")]
    return [line for line in lines if "Shelf.create" in line or "crds/" in line or "shelf-admin" in line]


@pytest.mark.parametrize("name", ["class.yaml", "claim.yaml"])
def test_the_manifests_of_the_page_are_valid(name: str, kube_admin: KubeAdmin) -> None:
    body = yaml.safe_load(page_manifests()[name])
    path = kube_admin.path_of(body).rpartition("/")[0]

    assert kube_admin.create(f"{path}?dryRun=All&fieldValidation=Strict", body)["kind"] == body["kind"]


@pytest.mark.parametrize("spelling", range(2))
def test_the_first_claim_is_provisioned_and_deleted(
    spelling: int, workplace: Path, control_plane: ControlPlane
) -> None:
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

    assert not Database(workplace / "shelf.db").has("SELECT 1 FROM bucket UNION SELECT 1 FROM user")
