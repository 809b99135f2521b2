"""Google Cloud Storage in the sweep: in memory, behind connections that lead nowhere else, on the turned clock.

Once for each kind of credentials: HMAC keys, service-account keys, federated identities without any key. Requests with
a claim's own credentials have names of their own: `AS_CLAIM` at their end.
"""

from __future__ import annotations

import json
import logging
import re
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, ClassVar, Final
from unittest.mock import patch

from cryptography.hazmat.primitives import serialization

from gcs_provisioner.client import Patience
from gcs_provisioner.parameters import DEFAULT_TOKEN_URI
from gcs_provisioner.provisioner import GcsProvisioner
from libbucket import SecretStr
from testkit.answers.adapter import BYSTANDER, CANARY, REQUEST_ID, Adapter, TurnedClock
from testkit.answers.catalogue import load
from testkit.answers.flows import NAMESPACE
from testkit.gcs.fake import FakeGcs
from testkit.gcs.fake.clock import Clock as FakeClock
from testkit.gcs.fake.model import Store
from testkit.gcs.fake.server import PROJECT, TOKEN_PATH, respond
from testkit.gcs.fake.wire import Request as FakeRequest
from testkit.gcs.in_memory_backend import FILE_KEY, InMemoryBackend
from testkit.gcs.requests_by_name import error_answer, request_name
from testkit.resilience.proxy import Instead, Request
from testkit.resilience.wire import Wire, wired

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from libbucket import ObjectBucket
    from libbucket.provisioner import Provisioner, Services
    from testkit.answers.adapter import Clock
    from testkit.answers.catalogue import Answer, Catalogue
    from testkit.answers.injector import Injector

_URL: Final = "https://storage.googleapis.com"
_ELSEWHERE: Final = "https://storage-elsewhere.p.googleapis.com"
_TOKEN_HOST: Final = "oauth2.googleapis.com"
_SIGNED_BY: Final = re.compile(r"X-(?:Amz|Goog)-Credential=([^&]+?)(?:%2F|/)")


class _FakeClock(FakeClock):
    """The fake's clock: the wall's, plus what simulations turned it by."""

    def __init__(self, turned: TurnedClock) -> None:
        super().__init__()
        self._seconds = turned

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._seconds())


class GcsAdapter(Adapter):
    """Google in memory.

    Args:
        fake: it.
        clock: that the fake goes by.

    Attributes:
        credentials: what claims get.
    """

    name = "gcs"
    credentials: ClassVar[str] = "hmac"
    new_keys = frozenset({"storage.hmacKeys.create"})
    gone_keys = frozenset({"storage.hmacKeys.update", "storage.hmacKeys.delete", "iam.serviceAccounts.delete"})
    config: ClassVar[Mapping[str, str]] = {"bucketVersioning": "Enabled"}
    locks = True
    late = 0.0
    elsewhere = _ELSEWHERE
    settling = 180.0  # https://cloud.google.com/storage/docs/authentication/hmackeys: 3 minutes after deactivation

    def __init__(self, fake: FakeGcs, clock: TurnedClock) -> None:
        self._fake, self._clock = fake, clock
        self._backend = InMemoryBackend(fake, credentials=self.credentials, namespace=NAMESPACE)
        self._wire = Wire(self._answered, clock.sleep)
        fake.knobs.absent_is_forbidden = True
        fake.knobs.account_limit = 1_000_000  # the accounts of all trials are in one project
        self.make_bystander()

    @property
    def wire(self) -> Wire:
        """What connections to Google lead to."""
        return self._wire

    def attach(self, injector: Injector) -> None:
        self._wire.injector = injector

    @cached_property
    def catalogue(self) -> Catalogue:
        return load("gcs")

    @property
    def upstream(self) -> str:
        return ""

    @property
    def backend(self) -> InMemoryBackend:
        return self._backend

    def provisioner(self, services: Services, clock: Clock) -> Provisioner:
        self._clock.follow(clock)
        self._forget()
        return GcsProvisioner(replace(services, now=self._fake.clock.now), patience=Patience(connect=3.0, read=3.0))

    def parameters(self, url: str) -> Mapping[str, str]:
        return {**self._backend.parameters, "endpoint": url or _URL}

    def secrets(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        del namespace, name
        key = {**json.loads(self._backend.admin_key), "token_uri": DEFAULT_TOKEN_URI}
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
        email, store = self._backend.administrator.email(record), self._fake.store
        account = store.accounts.get(email)
        stamps = sum(key.email == email and key.state == "ACTIVE" for key in store.hmac_keys.values())
        return max(stamps, len(account.keys) if account is not None else 0)

    def lock(self, bucket: str) -> None:
        self._backend.administrator.application().put(bucket, "locked", b"data")
        self._set_hold(bucket, is_held=True)

    def unlock(self, bucket: str) -> None:
        self._set_hold(bucket, is_held=False)

    def others(self) -> Mapping[str, object]:
        bucket = self._fake.store.buckets[BYSTANDER]
        return {**super().others(), "policy": json.dumps(bucket.policy.bindings, sort_keys=True)}

    def _set_hold(self, bucket: str, *, is_held: bool) -> None:
        for version in self._fake.store.buckets[bucket].all_versions():
            version.extra = {"temporaryHold": is_held}

    def _answered(self, request: Request) -> Instead:
        target = request.target
        if request.headers["host"] == _TOKEN_HOST:
            target = target.replace("/token", TOKEN_PATH, 1)
        answer = respond(self._fake.store, FakeRequest(request.method, target, request.headers, request.body))
        return Instead(status=answer.status, headers=answer.headers, body=answer.body)

    def _forget(self) -> None:
        """What earlier trials have left behind: tokens, and keys of accounts that are gone."""
        store = self._fake.store
        store.calls.clear()
        store.tokens.clear()
        for access_id in [name for name, each in store.hmac_keys.items() if each.email not in store.accounts]:
            del store.hmac_keys[access_id]


class GcsKeyFileAdapter(GcsAdapter):
    """Claims get service-account keys."""

    name = "gcs-json-key"
    credentials = "json-key"
    new_keys = frozenset({"iam.serviceAccounts.keys.create"})
    gone_keys = frozenset({"iam.serviceAccounts.keys.delete", "iam.serviceAccounts.delete"})


class GcsFederationAdapter(GcsAdapter):
    """Claims get no key: their Kubernetes service account is let in."""

    name = "gcs-federation"
    credentials = "workload-identity-federation"
    new_keys = frozenset()
    gone_keys = frozenset()


@contextmanager
def _warnings_only(logger: str) -> Iterator[None]:
    """As `libbucket.run` has it at every verbosity."""
    found = logging.getLogger(logger)
    level = found.level
    found.setLevel(logging.WARNING)
    try:
        yield
    finally:
        found.setLevel(level)


@contextmanager
def gcs(adapter: type[GcsAdapter] = GcsAdapter) -> Iterator[GcsAdapter]:
    """Google in memory, on the turned clock.

    What would take most of the time is made short: private keys are small, and loaded, which means proven, once; no
    request searches for a proxy.
    """
    turned = TurnedClock()
    fake = FakeGcs(Store(PROJECT), _URL)
    fake.clock = fake.store.clock = _FakeClock(turned)
    loads = lru_cache(64)(serialization.load_pem_private_key)
    with (
        patch("testkit.gcs.fake.iam_api.KEY_BITS", 1024),
        _warnings_only("urllib3"),
        _warnings_only("google"),
        patch("requests.sessions.get_environ_proxies", lambda *_args, **_options: {}),
        patch("requests.sessions.get_netrc_auth", lambda _url: None),
        patch.object(serialization, "load_pem_private_key", loads),
    ):
        made = adapter(fake, turned)
        with wired(made.wire, ".googleapis.com"):
            yield made


gcs_json_key = partial(gcs, GcsKeyFileAdapter)
gcs_federation = partial(gcs, GcsFederationAdapter)
