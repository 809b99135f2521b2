"""The conformance suite on the example of a custom backend."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libbucket import InvalidClaim, InvalidParameters, Provisioner, Services
from libbucket.testing import builders
from libbucket.testing.application import Application, Refused
from libbucket.testing.conformance import Ability, Administrator, Backend, Capabilities, Conformance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from libbucket import Authentication, Endpoint, ObjectBucket, SecretStr

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom-backend" / "provisioner.py"


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("custom_backend_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def no_secrets(namespace: str, name: str) -> Mapping[str, SecretStr]:
    raise AssertionError(f"a directory needs no administrator's Secret, but {namespace}/{name} was asked for")


class DirectoryServer(Application):
    """The server of the directory: accepts a key pair while its credentials file exists.

    Keys of None are the administrator's.
    """

    def __init__(self, root: Path, keys: tuple[str, str] | None) -> None:
        self._root = root
        self._keys = keys

    def put(self, bucket: str, key: str, data: bytes) -> None:
        path = self._open(bucket) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def get(self, bucket: str, key: str) -> bytes:
        return (self._open(bucket) / key).read_bytes()

    def list_keys(self, bucket: str) -> list[str]:
        opened = self._open(bucket)
        return sorted(str(path.relative_to(opened)) for path in opened.rglob("*") if path.is_file())

    def delete(self, bucket: str, key: str) -> None:
        (self._open(bucket) / key).unlink(missing_ok=True)

    def batch_delete(self, bucket: str, keys: Sequence[str]) -> None:
        for key in keys:
            self.delete(bucket, key)

    def copy(self, source_bucket: str, source_key: str, bucket: str, key: str) -> None:
        self.put(bucket, key, self.get(source_bucket, source_key))

    def list_all(self) -> list[str]:
        names = sorted(path.name for path in self._root.iterdir() if not path.name.startswith("."))
        return names if self._keys is None else [name for name in names if name in self._allowed()]

    def remove_bucket(self, bucket: str) -> None:
        if self._keys is not None:
            raise Refused("only the administrator removes a bucket")
        shutil.rmtree(self._root / bucket)

    def _open(self, bucket: str) -> Path:
        if self._keys is not None and bucket not in self._allowed():
            raise Refused(bucket)
        return self._root / bucket

    def _allowed(self) -> list[str]:
        files = [json.loads(path.read_text()) for path in (self._root / ".credentials").glob("*.json")]
        return [held["bucket"] for held in files if (held["id"], held["key"]) == self._keys]


class DirectoryAdministrator(Administrator):
    def __init__(self, root: Path) -> None:
        self._root = root

    def application(self) -> Application:
        return DirectoryServer(self._root, None)

    def make_bucket(self, name: str) -> None:
        (self._root / name).mkdir()

    def purge_bucket(self, name: str) -> None:
        shutil.rmtree(self._root / name, ignore_errors=True)

    def bucket_exists(self, name: str) -> bool:
        return (self._root / name).exists()

    def identity_exists(self, record: ObjectBucket) -> bool:
        return self._credentials(record).exists()

    def remove_identity(self, record: ObjectBucket) -> None:
        self._credentials(record).unlink(missing_ok=True)

    def settings(self, bucket: str) -> Mapping[str, object]:
        tags = self._root / ".ownership" / f"{bucket}.json"
        return {"tags": tags.read_text() if tags.exists() else None, "mode": (self._root / bucket).stat().st_mode}

    def _credentials(self, record: ObjectBucket) -> Path:
        return self._root / ".credentials" / f"{record.user_id}.json"


class DirectoryBackend(Backend):
    capabilities = Capabilities(
        cannot={
            Ability.MULTIPART: "a file is written in one go",
            Ability.PRESIGNED: "a directory has no URLs",
            Ability.ANONYMOUS: "a directory has no URLs",
            Ability.VERSIONS: "a file has one version",
            Ability.REPORTED_REPAIRS: "the example is short",
            Ability.TAKEOVER: "no other program ever made one",
            Ability.NETWORK: "a directory is on this machine",
        }
    )

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def parameters(self) -> Mapping[str, str]:
        return {"root": str(self._root)}

    @property
    def administrator(self) -> Administrator:
        return DirectoryAdministrator(self._root)

    def provisioner(self) -> Provisioner:
        made = load_example().DirectoryProvisioner(Services(read_secret=no_secrets))
        assert isinstance(made, Provisioner)
        return made

    def fenced(self, before_request: Callable[[], None]) -> Provisioner:
        services = Services(read_secret=no_secrets, before_request=before_request)
        made = load_example().DirectoryProvisioner(services)
        assert isinstance(made, Provisioner)
        return made

    def application(self, endpoint: Endpoint, credentials: Authentication) -> Application:
        keys = credentials.access_keys
        assert keys is not None
        path = Path(endpoint.additional_config["BUCKET_PATH"])
        assert path.name == endpoint.bucket_name
        return DirectoryServer(path.parent, (keys.access_key_id, keys.secret_access_key.reveal()))


class TestDirectory(Conformance):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return DirectoryBackend(tmp_path)


@pytest.fixture
def provisioner() -> Any:
    return load_example().DirectoryProvisioner(Services(read_secret=no_secrets))


@pytest.mark.parametrize("name", ["../outside", "/etc", "..", ".credentials", "a/b", "", "Upper", "-a", "a\n"])
def test_a_name_that_could_leave_the_root_is_never_a_path(name: str, provisioner: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (tmp_path / "outside").mkdir()
    root.mkdir()
    request = builders.options(bucket_name="fine", parameters={"root": str(root)})
    provisioner.provision(request)
    before = sorted(tmp_path.rglob("*"))
    bad = replace(request, bucket_name=name, user_id="another")
    for verb in (provisioner.provision, provisioner.grant):
        with pytest.raises(InvalidClaim, match="bucketName"):
            verb(bad)
    provisioner.delete(builders.intent(bad))
    assert sorted(tmp_path.rglob("*")) == before
    provisioner.delete(builders.intent(request))
    assert not (root / "fine").exists()


@pytest.mark.parametrize("root", ["", "relative", "/no/such/directory"])
def test_a_root_that_is_not_a_directory_is_a_mistake_in_the_class(root: str, provisioner: Any) -> None:
    with pytest.raises(InvalidParameters, match="root"):
        provisioner.provision(builders.options(parameters={"root": root}))


def test_credentials_and_ownership_tags_are_readable_by_their_owner_only(provisioner: Any, tmp_path: Path) -> None:
    provisioner.provision(builders.options(parameters={"root": str(tmp_path)}))
    assert {path.stat().st_mode & 0o077 for path in tmp_path.glob(".*")} == {0}


def test_a_deleted_claim_leaves_no_files(provisioner: Any, tmp_path: Path) -> None:
    request = builders.options(parameters={"root": str(tmp_path)})
    answer = provisioner.provision(request)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
    provisioner.delete(builders.recorded(answer, request))
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".credentials", ".ownership"]


def test_the_example_is_one_file_of_at_most_150_lines() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 150
