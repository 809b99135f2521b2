"""Google Cloud Storage in the sweep: in memory, behind connections that lead nowhere else, on the turned clock.

Once for each kind of credentials: HMAC keys, service-account keys, federated identities without any key. In every trial
what is absent is forbidden, lists lag behind, and what was withdrawn goes on for as long as Google documents. Claims
with keys are tried once more with all of Google's delays and rate limits. A token that is requested with a claim's own
key has a name of its own; objects are listed with such keys only.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, Final
from unittest.mock import patch
from urllib.parse import parse_qs, unquote

from cryptography.hazmat.primitives import serialization

from gcs_provisioner.admin_secret import DEFAULT_TOKEN_URI
from gcs_provisioner.client import Patience
from gcs_provisioner.provisioner import GcsProvisioner
from libbucket import SecretStr
from testkit.answers.adapter import BYSTANDER, CANARY, REQUEST_ID, Adapter, TurnedClock
from testkit.answers.catalogue import load
from testkit.answers.flows import NAMESPACE
from testkit.answers.simulation import warnings_only
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
_EMAIL: Final = re.compile(r"(obc-[0-9a-f]+@[a-z0-9.-]+)")
_BUCKET: Final = re.compile(r"/storage/v1/b/([^/]+)")

PART: Final = "-inside"
"""At the end of names of answers to a part of a batch."""
_PAUSE: Final = 60.0
"""Between two simulations: what one of them did counts for Google's rates, which the next one does not know of."""
TOKEN_AS_CLAIM: Final = "oauth2.tokenAsClaim"
_AS_CLAIM: Final = frozenset({TOKEN_AS_CLAIM, "xml.listObjects"})


class _FakeClock(FakeClock):
    """The fake's clock: the moment at which it was made, plus what it and simulations turned it by."""

    def __init__(self, turned: TurnedClock) -> None:
        super().__init__()
        self._seconds, self._start = turned, super().now()

    def now(self) -> datetime:
        return self._start + self.turned + timedelta(seconds=self._seconds())


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
    gone_keys = frozenset()
    """None: the fake itself lets removed credentials in for as long as Google may, and each trial tries them."""
    config: ClassVar[Mapping[str, str]] = {"bucketVersioning": "Enabled"}
    locks = True
    late = 0.0
    elsewhere = _ELSEWHERE
    settling = 180.0  # https://cloud.google.com/storage/docs/authentication/hmackeys: 3 minutes after deactivation

    def __init__(self, fake: FakeGcs, clock: TurnedClock) -> None:
        self._fake, self._clock = fake, clock
        self._backend = InMemoryBackend(fake, credentials=self.credentials, namespace=NAMESPACE)
        self._wire = Wire(self._answered, clock.sleep)
        self._set_conditions(fake)
        fake.knobs.account_limit = 1_000_000  # the accounts of all trials are in one project
        self.make_bystander()

    @staticmethod
    def _set_conditions(fake: FakeGcs) -> None:
        """What every trial meets, beside its own answer: see `Knobs.turn_on` for the figures."""
        fake.knobs.absent_is_forbidden = True
        fake.knobs.list_lag_seconds = 5.0
        fake.knobs.withdraw_seconds, fake.knobs.hmac_stop_seconds = 120.0, 180.0

    @property
    def wire(self) -> Wire:
        """What connections to Google lead to."""
        return self._wire

    def attach(self, injector: Injector) -> None:
        self._wire.injector = injector

    @cached_property
    def catalogue(self) -> Catalogue:
        """Answers to a deletion come inside of a batch's."""
        found = load("gcs")
        parts = [each for each in found.answers if "storage.objects.delete" in each.requests]
        inside = [replace(each, name=each.name + PART, requests=frozenset({"storage.batch"})) for each in parts]
        return replace(found, answers=(*found.answers, *inside))

    @property
    def upstream(self) -> str:
        return ""

    @property
    def backend(self) -> InMemoryBackend:
        return self._backend

    def provisioner(self, services: Services, clock: Clock) -> Provisioner:
        self._clock.follow(clock, pause=_PAUSE)
        self._forget()
        patience = Patience(connect=3.0, read=3.0, sleep=self._clock.sleep)
        return GcsProvisioner(replace(services, now=self._fake.clock.now), patience=patience)

    def parameters(self, url: str) -> Mapping[str, str]:
        return {**self._backend.parameters, "endpoint": url or _URL}

    def secrets(self, namespace: str, name: str) -> Mapping[str, SecretStr]:
        del namespace, name
        key = {**json.loads(self._backend.admin_key), "token_uri": DEFAULT_TOKEN_URI}
        return {FILE_KEY: SecretStr(json.dumps(key))}

    def request_name(self, request: Request) -> str:
        query = request.target.partition("?")[2]
        name = request_name(request.method, request.path, query, request.headers, request.body)
        return TOKEN_AS_CLAIM if name == "oauth2.token" and not self._is_administrators(request) else name

    def subject(self, request: Request) -> str:
        """The account, or the bucket."""
        found = _EMAIL.search(unquote(request.target)) or _BUCKET.match(request.path)
        return found[1] if found else ""

    def is_about(self, request: Request, subject: str) -> bool:
        """Flows have one account and one bucket at a time: what a key opens is about both."""
        return self.request_name(request) in _AS_CLAIM or super().is_about(request, subject)

    def render(self, answer: Answer, request: Request) -> Instead:
        name = self.request_name(request)
        if name == "storage.batch" and PART in answer.name:
            return Instead(status=200, **_parts(request, answer))
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

    def _is_administrators(self, request: Request) -> bool:
        """Whether a token is requested with the administrator's key: the issuer of what is signed is the account."""
        assertion = parse_qs(request.body.decode()).get("assertion", [""])[0]
        claims = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "==")) if "." in assertion else {}
        return bool(claims.get("iss") == json.loads(self._backend.admin_key)["client_email"])

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


class GcsAsSlowAsDocumented(GcsAdapter):
    """Every delay and rate limit of Google's in every trial: grants take minutes, and buckets and IAM have rates."""

    name = "gcs-slow"
    starting = 300.0  # 60 s until a key is known, and then what is left of the 120 s of the grant, by growing delays

    @staticmethod
    def _set_conditions(fake: FakeGcs) -> None:
        fake.clock.turn(600)
        fake.knobs.turn_on()


class GcsKeyFileAsSlowAsDocumented(GcsKeyFileAdapter, GcsAsSlowAsDocumented):
    """The same, for claims with service-account keys."""

    name = "gcs-json-key-slow"


class GcsFederationAdapter(GcsAdapter):
    """Claims get no key: their Kubernetes service account is let in."""

    name = "gcs-federation"
    credentials = "workload-identity-federation"
    new_keys = frozenset()
    starting = 60.0  # https://cloud.google.com/storage/docs/consistency: a new permission takes about a minute


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
        warnings_only("urllib3"),
        warnings_only("google"),
        patch("requests.sessions.get_environ_proxies", lambda *_args, **_options: {}),
        patch("requests.sessions.get_netrc_auth", lambda _url: None),
        patch.object(serialization, "load_pem_private_key", loads),
    ):
        made = adapter(fake, turned)
        with wired(made.wire, ".googleapis.com"):
            yield made


def _parts(request: Request, answer: Answer) -> dict[str, Any]:
    """The answer to a batch each of whose requests is refused: https://cloud.google.com/storage/docs/batch."""
    _, _, body = error_answer("storage.objects.delete", answer.code, answer.status, CANARY)
    head = f"HTTP/1.1 {answer.status} x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    part = f"--parts\r\nContent-Type: application/http\r\n\r\n{head}{body.decode()}\r\n"
    count = request.body.count(b"DELETE ")
    headers = {"Content-Type": "multipart/mixed; boundary=parts", "X-GUploader-UploadID": REQUEST_ID}
    return {"headers": headers, "body": f"{part * count}--parts--\r\n".encode()}


gcs_json_key = partial(gcs, GcsKeyFileAdapter)
gcs_slow = partial(gcs, GcsAsSlowAsDocumented)
gcs_json_key_slow = partial(gcs, GcsKeyFileAsSlowAsDocumented)
gcs_federation = partial(gcs, GcsFederationAdapter)
