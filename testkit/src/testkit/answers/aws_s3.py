"""AWS S3 with its IAM and STS in the sweep: in memory, behind connections that lead nowhere else, on the turned clock.

IAM is throttled by a token bucket in all trials. A claim's own credentials are tried by `ListObjectsV2AsClaim`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast
from unittest.mock import patch

from botocore.auth import SigV4Auth
from botocore.credentials import Credentials
from botocore.loaders import create_loader
from botocore.useragent import UserAgentString

from aws_s3_provisioner.pacing import Pacer
from aws_s3_provisioner.pending import PendingKeys
from aws_s3_provisioner.provisioner import AwsS3Provisioner
from aws_s3_provisioner.request import Patience
from aws_s3_provisioner.sdk_clients import ClientMaker, Limits
from testkit.answers.adapter import CANARY, REQUEST_ID, Adapter, TurnedClock
from testkit.answers.catalogue import load
from testkit.answers.simulation import warnings_only
from testkit.aws_s3.backend import a_policy, rules
from testkit.aws_s3.fakes import HELD
from testkit.aws_s3.in_memory_backend import InMemoryBackend
from testkit.aws_s3.regional_s3 import HOSTS, OWN, RegionalS3, answered
from testkit.aws_s3.requests_by_name import AS_CLAIM, error_answer, request_name
from testkit.resilience.proxy import Instead, Request
from testkit.resilience.wire import Wire, wired

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libbucket.provisioner import Provisioner, Services
    from libbucket.types import ObjectBucket, SecretStr
    from testkit.answers.adapter import Clock
    from testkit.answers.catalogue import Answer, Catalogue
    from testkit.answers.injector import Injector

_PER_SECOND: Final = 15.0
"""Requests to IAM: https://github.com/cloud-custodian/cloud-custodian/issues/6351."""
_KEY: Final = "1234abcd-12ab-34cd-56ef-1234567890ab"
_BOUNDARY: Final = f"arn:aws:iam::{OWN}:policy/boundary"
_ELSEWHERE: Final = "eu-west-1"


class AwsAdapter(Adapter):
    """AWS in memory.

    Args:
        s3: with its IAM.
        clock: of both.
    """

    name = "aws-s3"
    new_keys = frozenset({"CreateAccessKey"})
    gone_keys = frozenset({"DeleteAccessKey", "DeleteUser"})
    config: ClassVar[Mapping[str, str]] = {
        "bucketPolicy": a_policy("Allow"),
        "bucketLifecycle": rules(3),
        "bucketVersioning": "Enabled",
    }
    locks = True
    late = 0.0
    elsewhere = _ELSEWHERE

    def __init__(self, s3: RegionalS3, clock: TurnedClock) -> None:
        self._s3, self._clock = s3, clock
        self._backend = InMemoryBackend(s3)
        self._wire = Wire(partial(answered, s3), clock.sleep)
        s3.iam.per_second = _PER_SECOND
        self.make_bystander()

    @property
    def wire(self) -> Wire:
        """What connections to AWS lead to."""
        return self._wire

    def attach(self, injector: Injector) -> None:
        self._wire.injector = injector

    @cached_property
    def catalogue(self) -> Catalogue:
        return load("aws-s3")

    @property
    def upstream(self) -> str:
        return ""

    @property
    def backend(self) -> InMemoryBackend:
        return self._backend

    def provisioner(self, services: Services, clock: Clock) -> Provisioner:
        self._clock.follow(clock)
        return AwsS3Provisioner(
            services,
            limits=Limits(),
            patience=Patience(sleep=self._clock.sleep, clock=self._clock),
            pending=PendingKeys(self._clock),
        )

    def parameters(self, url: str) -> Mapping[str, str]:
        here = {**self._backend.parameters, "kmsKeyId": _KEY, "permissionsBoundary": _BOUNDARY}
        return {**here, "region": url} if url else here

    def secrets(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        del namespace, name
        return HELD

    def request_name(self, request: Request) -> str:
        query = request.target.partition("?")[2]
        name = request_name(request.method, request.path, query, {"Host": request.headers["host"]}, request.body)
        return AS_CLAIM if name == "ListObjectsV2" and self._s3.iam.has_made(self._key_in(request)) else name

    def subject(self, request: Request) -> str:
        name = self.request_name(request)
        if name == "CreateAccessKey":
            return self._s3.iam.newest_key
        return self._user_in(request) or request.headers["host"]

    def is_about(self, request: Request, subject: str) -> bool:
        if self.request_name(request) != AS_CLAIM:
            return super().is_about(request, subject)
        key_id = self._key_in(request)
        key = self._s3.iam.keys.get(key_id)
        return subject in {key_id, request.headers["host"], key.user if key is not None else ""}

    def render(self, answer: Answer, request: Request) -> Instead:
        name = self.request_name(request)
        told = f"{answer.message or 'no'} {CANARY}"
        if answer.status == 200 and name == "DeleteObjects":
            body = f"<DeleteResult><Error><Key>object-0</Key><Code>{answer.code}</Code></Error></DeleteResult>"
            return Instead(status=200, headers={"x-amz-request-id": REQUEST_ID}, body=body.encode())
        status, headers, content = error_answer(name, answer.code, answer.status, message=told)
        return Instead(status=status, headers=headers, body=content)

    def keys_of(self, record: ObjectBucket) -> int:
        return len(self._backend.administrator.keys(record.user_id))

    def lock(self, bucket: str) -> None:
        found = self._s3.buckets[bucket]
        found.versioning, found.has_lock = "Enabled", True
        found.objects.put("locked", b"data", keeps_versions=True).is_held = True

    def unlock(self, bucket: str) -> None:
        for version in self._s3.buckets[bucket].objects.versions:
            version.is_held = False

    def _key_in(self, request: Request) -> str:
        return request.signer.partition("Credential=")[2]

    def _user_in(self, request: Request) -> str:
        fields = dict(part.partition("=")[::2] for part in request.body.decode(errors="replace").split("&"))
        return fields.get("UserName", "") if fields.get("Action") else ""


class _Current:
    """Passes on to what the provisioner of the trial has: its pacer, or its fence."""

    def __init__(self) -> None:
        self.now: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)

    def __call__(self) -> None:
        self.now()


class _Clients:
    """Makes each client once for all trials: it takes longer than all requests of a verb, and has no state.

    What belongs to one provisioner is passed through `_Current`. Claims share a client, whose credentials are replaced.
    """

    def __init__(self) -> None:
        self._made: dict[object, tuple[Any, _Current, _Current]] = {}

    def kept(self, make: Any) -> Any:
        """In place of a method of `ClientMaker`."""

        def made(maker: ClientMaker, credentials: Any) -> Any:
            is_admins = credentials.access_key == HELD["AWS_ACCESS_KEY_ID"].reveal()
            key = make.__name__, repr(maker.parameters), maker.bucket_owner, maker.pacer is None, is_admins
            if key not in self._made:
                fence, pacer = _Current(), _Current()
                shared = replace(maker, fence=fence, pacer=None if maker.pacer is None else cast("Pacer", pacer))
                self._made[key] = make(shared, credentials), fence, pacer
            client, fence, pacer = self._made[key]
            fence.now, pacer.now = maker.fence, maker.pacer
            signer = client._request_signer  # the SDK has no other way
            signer._credentials = Credentials(credentials.access_key, credentials.secret_key, credentials.token or None)
            return client

        return made


def _sign(self: Any, request: Any) -> None:
    """Names the key, which is all that AWS in memory reads: to compute a signature takes longer than to answer."""
    request.headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={self.credentials.access_key}/sweep"


@contextmanager
def aws_s3() -> Iterator[AwsAdapter]:
    """AWS in memory, and a provisioner package whose waits turn the clock."""
    clock, loader, clients = TurnedClock(), create_loader(), _Clients()
    made = AwsAdapter(RegionalS3(clock), clock)
    with (
        wired(made.wire, HOSTS),
        warnings_only("botocore"),
        warnings_only("urllib3"),
        patch.object(ClientMaker, "s3", clients.kept(ClientMaker.s3)),
        patch.object(ClientMaker, "iam", clients.kept(ClientMaker.iam)),
        patch.object(ClientMaker, "sts", clients.kept(ClientMaker.sts)),
        patch.object(SigV4Auth, "add_auth", _sign),
        patch.object(UserAgentString, "to_string", lambda _self: "sweep"),
        patch("aws_s3_provisioner.client.create_loader", lambda: loader),
        patch("aws_s3_provisioner.client.time", SimpleNamespace(monotonic=clock)),
        patch("aws_s3_provisioner.hooks.time", SimpleNamespace(sleep=clock.sleep)),
        patch.object(Pacer.__init__, "__defaults__", (clock,)),
    ):
        yield made
