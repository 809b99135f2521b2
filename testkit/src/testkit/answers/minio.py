"""MinIO in the sweep: in memory for the whole of it, and the real server behind the proxy for what proves the fake."""

from __future__ import annotations

import functools
import io
import json
import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final
from unittest.mock import patch

from minio import crypto
from minio.commonconfig import GOVERNANCE
from minio.error import MinioAdminException
from minio.retention import Retention

from libbucket import SecretStr, wait_until
from minio_provisioner.provisioner import MinioProvisioner
from testkit.answers.adapter import BYSTANDER, CANARY, REQUEST_ID, Adapter
from testkit.answers.catalogue import load
from testkit.answers.simulation import warnings_only
from testkit.minio.answers import ADMIN_PATH, error_answer, request_name
from testkit.minio.backend import MinioBackend
from testkit.minio.fake.server import HOST_SUFFIX, FakeMinio
from testkit.minio.server import minio_binary, minio_server
from testkit.resilience.proxy import Instead
from testkit.resilience.wire import Wire, wired

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libbucket.provisioner import Provisioner, Services
    from libbucket.types import ObjectBucket
    from testkit.answers.adapter import Clock
    from testkit.answers.catalogue import Answer, Catalogue
    from testkit.answers.injector import Injector
    from testkit.minio.server import MinioServer
    from testkit.resilience.proxy import Request

_READ_SECONDS: Final = 3.0
_SALT_BYTES: Final = 32
_GENERATIONS: Final = 6
_POLICY: Final = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{BYSTANDER}/*"]}],
}


class MinioAdapter(Adapter):
    """A running server.

    Args:
        server: it.
        turning: the clock on which the package waits.
    """

    name = "minio-server"
    new_keys = frozenset({"AddUser"})
    gone_keys = frozenset({"RemoveUser"})
    config: ClassVar[Mapping[str, str]] = {"maxSize": "1Gi"}
    locks = True
    late = _READ_SECONDS * 1.5

    def __init__(self, server: MinioServer, turning: Turning) -> None:
        self._server, self._turning = server, turning
        self._backend = MinioBackend(server)
        self.make_bystander()

    @cached_property
    def catalogue(self) -> Catalogue:
        return load("minio")

    @property
    def upstream(self) -> str:
        return self._server.url

    @property
    def backend(self) -> MinioBackend:
        return self._backend

    def provisioner(self, services: Services, clock: Clock) -> Provisioner:
        self._turning.clock = clock
        return MinioProvisioner(services, read_seconds=_READ_SECONDS)

    def parameters(self, url: str) -> Mapping[str, str]:
        own = {"endpoint": url, "secretName": "admin", "secretNamespace": "minio"}
        return own if url == self._server.url else {**own, "publicEndpoint": self._server.url}

    def secrets(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        del namespace, name
        held = {"MINIO_ROOT_USER": self._server.user, "MINIO_ROOT_PASSWORD": self._server.password}
        return {key: SecretStr(value) for key, value in held.items()}

    def request_name(self, request: Request) -> str:
        return request_name(request.method, request.path, request.query, request.headers, request.body)

    def subject(self, request: Request) -> str:
        if self.request_name(request) == "ListObjectsV2AsClaim":
            return request.signer.partition("Credential=")[2]
        named = next((request.query[name] for name in ("accessKey", "name", "bucket") if name in request.query), "")
        is_admin = request.path.startswith(ADMIN_PATH)
        return named if is_admin else request.path.lstrip("/").partition("/")[0]

    def render(self, answer: Answer, request: Request) -> Instead:
        name = self.request_name(request)
        status, headers, body = error_answer(answer.code, answer.status, CANARY, request=name, request_id=REQUEST_ID)
        return Instead(status=status, headers=headers, body=body)

    def keys_of(self, record: ObjectBucket) -> int:
        # By name and not by the list of all users, which the server encrypts with a costly key.
        generations = (record.user_id, *(f"{record.user_id}-{number}" for number in range(2, _GENERATIONS + 1)))
        return sum(self._is_user(name) for name in generations)

    def others(self) -> Mapping[str, object]:
        administrator = self._backend.administrator
        return {
            **super().others(),
            "user": json.loads(administrator.admin.user_info(BYSTANDER)),
            "policy": json.loads(administrator.admin.policy_info(BYSTANDER)),
        }

    def _is_user(self, name: str) -> bool:
        try:
            self._backend.administrator.admin.user_info(name)
        except MinioAdminException:
            return False
        return True

    def lock(self, bucket: str) -> None:
        s3 = self._backend.administrator.s3
        retention = Retention(GOVERNANCE, datetime.now(UTC) + timedelta(days=1))
        s3.put_object(bucket, "locked", io.BytesIO(b"data"), 4, retention=retention)

    def unlock(self, bucket: str) -> None:
        self._backend.administrator.unlock(bucket)

    @property
    def lock_parameters(self) -> Mapping[str, str]:
        return {"objectLocking": "true"}

    def make_bystander(self) -> None:
        super().make_bystander()
        administrator = self._backend.administrator
        administrator.admin.policy_add(BYSTANDER, policy=_POLICY)
        administrator.admin.user_add(BYSTANDER, "secret-of-a-bystander")
        administrator.admin.attach_policy([BYSTANDER], user=BYSTANDER)


class InMemoryMinioAdapter(MinioAdapter):
    """MinIO in memory, behind connections that lead nowhere else.

    Args:
        fake: it.
        turning: the clock on which its answers take time.
    """

    name = "minio"
    late = 0.0

    def __init__(self, fake: FakeMinio, turning: Turning) -> None:
        self._fake = fake
        self.elsewhere = fake.other_url  # type: ignore[misc] # of this one
        self.wire = Wire(fake.answer, turning.pass_time, answer_seconds=_READ_SECONDS)
        with wired(self.wire, HOST_SUFFIX):
            super().__init__(fake, turning)

    @property
    def upstream(self) -> str:
        return ""

    def attach(self, injector: Injector) -> None:
        self.wire.injector = injector

    def parameters(self, url: str) -> Mapping[str, str]:
        return super().parameters(url or self._fake.url)


class Turning:
    """Waits of the package on whichever clock turns now.

    Attributes:
        clock: of the simulation that runs; None before the first.
    """

    def __init__(self) -> None:
        self.clock: Clock | None = None

    def wait(self, *args: Any, **kwargs: Any) -> bool:
        """`wait_until`, on the turned clock."""
        assert self.clock is not None
        return wait_until(*args, **kwargs, sleep=self.clock.sleep, clock=self.clock.seconds)

    def pass_time(self, seconds: float) -> None:
        """Lets time pass, if a simulation runs."""
        if self.clock is not None:
            self.clock.sleep(seconds)


@contextmanager
def _turned(turning: Turning) -> Iterator[None]:
    """The package waits on the turned clock, and keys of encryption are derived once."""
    salts = SimpleNamespace(urandom=lambda size: bytes(size) if size == _SALT_BYTES else os.urandom(size))
    with (
        # One salt for all messages, so that a key of 64 MiB is derived once and not for each of ten thousand.
        patch("minio.crypto.os", salts),
        patch("minio.crypto._generate_key", functools.cache(crypto._generate_key)),
        patch("minio_provisioner.access.wait_until", new=turning.wait),
    ):
        yield


@contextmanager
def minio() -> Iterator[MinioAdapter]:
    """MinIO in memory."""
    turning = Turning()
    with _turned(turning):
        adapter = InMemoryMinioAdapter(FakeMinio(), turning)
        with wired(adapter.wire, HOST_SUFFIX), warnings_only("urllib3"):
            yield adapter


@contextmanager
def minio_of_the_server() -> Iterator[MinioAdapter]:
    """The real server."""
    turning = Turning()
    with _turned(turning), minio_server(minio_binary()) as server:
        yield MinioAdapter(server, turning)
