"""Google Cloud Storage in the sweep: the fake behind the proxy, with an administrator's key file and HMAC keys.

The fake goes by the turned clock. An absent account is 403, as at Google; delays that are longer than a claim needs to
be bound (`Knobs.turn_on`) are left to the package's own tests.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final
from uuid import NAMESPACE_URL, uuid5

from gcs_provisioner.client import Patience
from gcs_provisioner.provisioner import GcsProvisioner
from libbucket import SecretStr
from testkit.answers.adapter import BYSTANDER, CANARY, REQUEST_ID, Adapter, TurnedClock
from testkit.answers.catalogue import load
from testkit.gcs.backend import FILE_KEY, GcsBackend
from testkit.gcs.fake import fake_gcs
from testkit.gcs.fake.clock import Clock as FakeClock
from testkit.gcs.requests_by_name import error_answer, request_name
from testkit.resilience.proxy import Instead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from gcs_provisioner.request import Request as GcsRequest
    from libbucket import Authentication, BucketOptions, Endpoint, ObjectBucket
    from libbucket.provisioner import Provisioner, Services
    from libbucket.testing.application import Application
    from testkit.answers.adapter import Clock
    from testkit.answers.catalogue import Answer, Catalogue
    from testkit.gcs.fake import FakeGcs
    from testkit.resilience.proxy import Request

_READ_SECONDS: Final = 3.0


class _FakeClock(FakeClock):
    """The fake's clock: the wall's, plus what simulations turned it by."""

    def __init__(self, turned: TurnedClock) -> None:
        super().__init__()
        self._seconds = turned

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._seconds())


class _WithUuids(GcsProvisioner):
    """Gets uids as API servers make them: those of the fake cluster are paths, which no label of Google's can hold."""

    @contextmanager
    def _request(self, of: BucketOptions | ObjectBucket) -> Iterator[GcsRequest]:
        earlier = tuple(map(_uuid, of.owner.earlier_uids))
        owner = replace(of.owner, uid=_uuid(of.owner.uid), earlier_uids=earlier)
        with super()._request(replace(of, owner=owner)) as request:
            yield request


def _uuid(uid: str) -> str:
    return str(uuid5(NAMESPACE_URL, uid))


class _Behind(GcsBackend):
    """Applications go straight to the fake, whichever address their claim was told."""

    def application(self, endpoint: Endpoint, credentials: Authentication) -> Application:
        direct = {**endpoint.additional_config, "BUCKET_ENDPOINT": self.fake.url}
        return super().application(replace(endpoint, additional_config=direct), credentials)


class GcsAdapter(Adapter):
    """A running fake.

    Args:
        fake: it.
        clock: that the fake goes by.
    """

    name = "gcs"
    new_keys = frozenset({"storage.hmacKeys.create", "iam.serviceAccounts.keys.create"})
    gone_keys = frozenset({"storage.hmacKeys.update", "storage.hmacKeys.delete", "iam.serviceAccounts.delete"})
    config: ClassVar[Mapping[str, str]] = {"bucketVersioning": "Enabled"}
    late = _READ_SECONDS * 1.5
    settling = 180.0  # https://cloud.google.com/storage/docs/authentication/hmackeys: 3 minutes after deactivation

    def __init__(self, fake: FakeGcs, clock: TurnedClock) -> None:
        self._fake, self._clock, self._url = fake, clock, fake.url
        self._backend = _Behind(fake)
        fake.knobs.absent_is_forbidden = True
        fake.knobs.account_limit = 1_000_000  # the accounts of all trials are in one project
        self.make_bystander()

    @cached_property
    def catalogue(self) -> Catalogue:
        return load("gcs")

    @property
    def upstream(self) -> str:
        return self._fake.url

    @property
    def backend(self) -> GcsBackend:
        return self._backend

    def provisioner(self, services: Services, clock: Clock) -> Provisioner:
        self._clock.follow(clock)
        patience = Patience(connect=2.0, read=_READ_SECONDS)
        return _WithUuids(replace(services, now=self._fake.clock.now), patience=patience)

    def parameters(self, url: str) -> Mapping[str, str]:
        self._url = url if url != self._fake.url else self._url  # tokens are requested at one address only
        return {**self._backend.parameters, "endpoint": url, "iamEndpoint": url}

    def secrets(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        del namespace, name
        key = {**json.loads(self._backend.admin_key), "token_uri": f"{self._url}/oauth2/token"}
        return {FILE_KEY: SecretStr(json.dumps(key))}

    def request_name(self, request: Request) -> str:
        query = request.target.partition("?")[2]
        return request_name(request.method, request.path, query, request.headers, request.body)

    def subject(self, request: Request) -> str:
        return request.path

    def render(self, answer: Answer, request: Request) -> Instead:
        name = self.request_name(request)
        status, headers, body = error_answer(name, answer.code, answer.status, CANARY)
        ids = {each: REQUEST_ID for each in headers if each in {"X-GUploader-UploadID", "X-Cloud-Trace-Context"}}
        return Instead(status=status, headers={**headers, **ids}, body=body)

    def keys_of(self, record: ObjectBucket) -> int:
        email = self._backend.administrator.email(record)
        with self._fake.store.lock:
            return sum(key.email == email and key.state == "ACTIVE" for key in self._fake.store.hmac_keys.values())

    def others(self) -> Mapping[str, object]:
        bucket = self._fake.store.buckets[BYSTANDER]
        return {**super().others(), "policy": json.dumps(bucket.policy.bindings, sort_keys=True)}


@contextmanager
def gcs() -> Iterator[GcsAdapter]:
    """The fake, on the turned clock."""
    with fake_gcs() as fake:
        turned = TurnedClock()
        fake.clock = fake.store.clock = _FakeClock(turned)
        yield GcsAdapter(fake, turned)
