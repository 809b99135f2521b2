"""Connections to Google for one verb: Cloud Storage and IAM as the administrator, and probes with a claim's own keys.

Opened by `provisioner` and closed after the verb, so that no state of a request outlives it. Every request has a time
limit, and nothing is retried here: the core does that. Knows nothing of buckets' settings and identities.
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import google.auth
import requests
from google.api_core import exceptions as api
from google.auth import compute_engine, identity_pool, impersonated_credentials
from google.auth import exceptions as auth
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import storage
from google.oauth2 import service_account
from requests import exceptions as http
from requests.adapters import HTTPAdapter

from gcs_provisioner.errors import (
    Call,
    TokenRefused,
    check_answer,
    check_token_answer,
    from_response,
    id_of,
    reason_of,
    request_id_of,
    translated,
)
from gcs_provisioner.pace import Pace
from gcs_provisioner.parameters import DEFAULT_TOKEN_URI, IMPERSONATION_ADDRESSES
from gcs_provisioner.signing import presign_listing
from libbucket import InvalidParameters, RetrySlowly, StoreRefused, fence_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gcs_provisioner.parameters import Admin, Parameters
    from libbucket import AccessKeys

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_READ_SCOPES: Final = ("https://www.googleapis.com/auth/devstorage.read_only",)
KEYS_KEPT: Final = 16
# Names can hold characters that XML 1.0 does not have: https://cloud.google.com/storage/docs/xml-api/get-bucket-list.
_LISTING: Final = {"encoding-type": "url", "list-type": "2", "max-keys": "1"}
_UNKNOWN_KEY: Final = frozenset({"InvalidAccessKeyId", "InvalidSecurity", "SignatureDoesNotMatch"})


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Time limits, in seconds. No verb waits for Google to propagate anything: it raises `NotReady` with a delay.

    Attributes:
        connect: for a connection.
        read: for the next bytes of an answer.
        purge: for removing objects, before the core calls again.
    """

    connect: float = 5.0
    read: float = 30.0
    purge: float = 20.0


class Verdict(Enum):
    """What a claim's own key can do with its bucket."""

    WORKS = auto()
    UNKNOWN = auto()
    """Google does not know the key (yet, or any more), or its secret is another one."""
    DENIED = auto()
    """Google knows the key, and lets it not into the bucket (yet)."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What a request with a claim's own key has shown.

    Attributes:
        verdict: see there.
        request_id: of the answer, if the key does not work.
    """

    verdict: Verdict
    request_id: str = ""


class BoundedRequest(Request):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """How google-auth asks for tokens: within our time limits (its own is two minutes), and without its own waiting."""

    def __init__(self, session: requests.Session, timeout: tuple[float, float]) -> None:
        super().__init__(session)
        self._timeout = timeout

    def __call__(  # the signature of google-auth's
        self, url: str, method: str = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **kw: Any
    ) -> Any:
        """Sends a request; google-auth may ask for less time, not for more."""
        limit = timeout if isinstance(timeout, int | float) and timeout < self._timeout[1] else self._timeout
        answer = super().__call__(  # type: ignore[no-untyped-call]
            url, method=method, body=body, headers=headers, timeout=limit, **kw
        )
        if method == "POST":  # the metadata server is asked by GET, and some of its refusals are answers
            check_token_answer(answer.status, answer.headers, url, answer.data)
        return answer


class TokensOnly(Credentials):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """The administrator's credentials, as far as they are asked for tokens.

    google-auth's own classes request something in the background as well (regional access boundaries): with the
    administrator's token, at an address that no parameter of a class can change, in a thread that outlives the verb.
    """

    def __init__(self, source: Credentials) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._source = source

    def refresh(self, request: Request) -> None:
        """Gets a token."""
        _refresh(self._source, request)
        self.token, self.expiry = self._source.token, self._source.expiry


def _refresh(credentials: Credentials, request: Request) -> None:
    """Gets a token.

    Raises:
        RetrySlowly: what answers issues no tokens: google-auth falls over a web page that is there in its place.
    """
    try:
        credentials.refresh(request)
    except (AttributeError, LookupError, TypeError, RecursionError) as error:
        raise RetrySlowly(
            "what answers in the place of Google's token endpoint is something else: check token_uri in the "
            "administrator's key, and any proxy before the provisioner"
        ) from error


class _QuietClient(storage.Client):  # type: ignore[misc,unused-ignore]
    """A client that sends what it is told to, and nothing else.

    Google's own client reads every bucket that it meets once more, for labels of traces, whether there are any or not:
    in threads that outlive the verb, with time limits and retries of their own.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._bucket_metadata_cache = None


class LastId(threading.local):
    """The id of the last answer that a thread got: the answers that a batch is made of have none of their own."""

    value = ""

    def note(self, response: requests.Response, **_: object) -> None:
        """A hook of a session."""
        self.value = request_id_of(response.headers)


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What one verb works with.

    Attributes:
        storage: Cloud Storage, as the administrator.
        session: any API of Google's, as the administrator.
        plain: requests without the administrator's token.
        parameters: of the class.
        project: where buckets and accounts are made.
        token_uri: where tokens are asked for.
        patience: time limits.
        pace: turns of requests that make or delete a bucket.
        last_id: of the last answer to this thread.
    """

    storage: storage.Client
    session: AuthorizedSession
    plain: requests.Session
    parameters: Parameters
    project: str
    token_uri: str
    patience: Patience
    pace: Pace
    last_id: LastId

    @property
    def timeout(self) -> tuple[float, float]:
        """Of each request: to connect, to read."""
        return self.patience.connect, self.patience.read

    @property
    def bounds(self) -> dict[str, Any]:
        """What every call of the storage client is given."""
        return {"timeout": self.timeout, "retry": None}

    def no_such_project(self, refusal: Exception) -> StoreRefused:
        """The error for what is to be made in a project that does not exist."""
        reason = reason_of(getattr(refusal, "response", None)) or "no reason given"
        return StoreRefused(
            f"Google Cloud project {self.project} does not exist ({reason}): check parameter project, and project_id "
            "in the administrator's key",
            request_id=id_of(refusal),
        )

    def try_hmac(self, bucket: str, keys: AccessKeys) -> Attempt:
        """Lists the bucket by an HMAC key: one request."""
        url = presign_listing(self.parameters.endpoint, bucket, keys, query=_LISTING)
        return self._try_url(url)

    def try_signed(self, bucket: str, email: str, key: Mapping[str, str]) -> Attempt:
        """Lists the bucket by a URL that a service-account key signs: one request, and no token."""
        credentials = self._credentials_of(email, key)
        if credentials is None:
            return Attempt(verdict=Verdict.UNKNOWN)
        url = self.storage.bucket(bucket).generate_signed_url(
            version="v4",
            expiration=timedelta(minutes=5),
            credentials=credentials,
            api_access_endpoint=self.parameters.endpoint,
            query_parameters=_LISTING,
        )
        return self._try_url(url)

    def try_key(self, bucket: str, email: str, key: Mapping[str, str]) -> Attempt:
        """Gets a token by a service-account key and lists the bucket with it, as applications do: two requests."""
        credentials = self._credentials_of(email, key)
        if credentials is None:
            return Attempt(verdict=Verdict.UNKNOWN)
        with translated(self._call()):
            try:
                _refresh(credentials, BoundedRequest(self.plain, self.timeout))
            except auth.RefreshError:
                return Attempt(verdict=Verdict.UNKNOWN)
            except TokenRefused as refusal:
                return Attempt(verdict=Verdict.UNKNOWN, request_id=refusal.request_id)
        headers = {"Authorization": f"Bearer {credentials.token}"}
        return self._try_url(f"{self.parameters.endpoint}/{bucket}?{urlencode(_LISTING)}", headers)

    def _credentials_of(self, email: str, key: Mapping[str, str]) -> service_account.Credentials | None:
        """Of a claim; where tokens come from is never taken from what a claim's Secret says."""
        own = {name: key.get(name, "") for name in ("private_key", "private_key_id")}
        info = {**own, "client_email": email, "token_uri": self.token_uri}
        try:
            found: service_account.Credentials = service_account.Credentials.from_service_account_info(
                info, scopes=_READ_SCOPES
            )
        except (ValueError, auth.GoogleAuthError):
            return None
        return found

    def _try_url(self, url: str, headers: dict[str, str] | None = None) -> Attempt:
        with translated(self._call()):
            response = self.plain.get(url, headers=headers, timeout=self.timeout)
            if not response.ok and response.status_code not in {400, 401, 403, 404}:
                raise from_response(response, self._call())
            answer = ET.fromstring(response.content)  # noqa: S314 - what is no XML is not Google's
            if not answer.tag.endswith("ListBucketResult" if response.ok else "Error"):
                raise ValueError("not Google's")
            if response.ok:
                return Attempt(verdict=Verdict.WORKS)
            request_id = request_id_of(response.headers)
            if response.status_code == 401 or answer.findtext("Code") in _UNKNOWN_KEY:
                return Attempt(verdict=Verdict.UNKNOWN, request_id=request_id)
            if response.status_code == 400:
                raise from_response(response, self._call())
            return Attempt(verdict=Verdict.DENIED, request_id=request_id)

    def _call(self) -> Call:
        return Call(url=self.parameters.endpoint, permission="storage.objects.list")


class Connector:
    """Makes the clients of a verb. One per process; its methods may be called from several threads.

    Args:
        patience: time limits.
        fence: asked before each request; see `Services.before_request`.
        now: the core's clock.
    """

    def __init__(
        self, patience: Patience, fence: Callable[[], None], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._patience = patience
        self._fence = fence
        self._pace = Pace(now)
        # To load a private key is to prove it, which takes 55 ms of a processor: as long as several requests.
        self._loaded: dict[bytes, service_account.Credentials] = {}
        self._own: tuple[Credentials, str | None] | None = None
        self._lock = threading.Lock()

    @contextmanager
    def connect(self, parameters: Parameters, admin: Admin | None) -> Iterator[Clients]:
        """Clients for one verb; their connections are closed at the end, whatever happens.

        Args:
            parameters: of the class.
            admin: who connects; None for the pod's own identity.

        Raises:
            InvalidParameters: no project is named.
            RetrySlowly: there are no credentials.
            StoreUnavailable: Google can't be asked now.
        """
        with requests.Session() as plain:
            _prepare(plain, self._fence)
            request = BoundedRequest(plain, (self._patience.connect, self._patience.read))
            with translated(Call(url=DEFAULT_TOKEN_URI, permission="a token")):
                credentials, project = self._administrator(parameters, admin, request)
            with AuthorizedSession(credentials, auth_request=request) as session:
                _prepare(session, self._fence)
                last_id = LastId()
                session.hooks["response"] = [last_id.note, lambda response, **_: check_answer(response)]
                yield Clients(
                    # The endpoint is always named: STORAGE_EMULATOR_HOST then neither moves a request nor drops its
                    # token.
                    storage=_QuietClient(
                        project=project,
                        credentials=credentials,
                        _http=session,
                        client_options={"api_endpoint": parameters.endpoint},
                    ),
                    session=session,
                    plain=plain,
                    parameters=parameters,
                    project=project,
                    token_uri=admin.token_uri if admin else DEFAULT_TOKEN_URI,
                    patience=self._patience,
                    pace=self._pace,
                    last_id=last_id,
                )

    def _administrator(self, parameters: Parameters, admin: Admin | None, request: Request) -> tuple[Credentials, str]:
        if admin is None:
            credentials, project = self._find_own(request)
        elif admin.subject_file:
            source = {"file": admin.subject_file}
            external = {**admin.reveal(), "type": "external_account", "credential_source": source}
            credentials, project = identity_pool.Credentials.from_info(external, scopes=SCOPES), admin.project
        else:
            credentials, project = self._load(admin).with_scopes(SCOPES), admin.project
        if parameters.impersonated:
            credentials = impersonated_credentials.Credentials(
                source_credentials=TokensOnly(credentials),
                target_principal=parameters.impersonated,
                target_scopes=SCOPES,
                iam_endpoint_override=IMPERSONATION_ADDRESSES[-1] + f"{parameters.impersonated}:generateAccessToken",
            )
        found = parameters.project or project
        if not found:
            raise InvalidParameters(["project is required: the administrator's credentials name none"])
        return TokensOnly(credentials), found

    def _find_own(self, request: Request) -> tuple[Credentials, str]:
        """The pod's own identity, and its project; one that the metadata server gives is searched for once."""
        with self._lock:
            found = self._own
        if found is None:
            found = google.auth.default(scopes=SCOPES, request=request)
            if isinstance(found[0], compute_engine.Credentials):
                with self._lock:
                    self._own = found
        return copy.copy(found[0]), found[1] or ""

    def _load(self, admin: Admin) -> service_account.Credentials:
        revealed = admin.reveal()
        name = hashlib.sha256(json.dumps(revealed, sort_keys=True).encode()).digest()
        with self._lock:
            if name not in self._loaded:
                loaded = service_account.Credentials.from_service_account_info(revealed)
                if len(self._loaded) == KEYS_KEPT:
                    del self._loaded[next(iter(self._loaded))]
                self._loaded[name] = loaded
            return self._loaded[name]


class _FencedAdapter(HTTPAdapter):
    """Connections, direct ones and those through a proxy, that ask the fence right before each request."""

    def __init__(self, fence: Callable[[], None]) -> None:
        self._fence = fence
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """For direct connections."""
        super().init_poolmanager(*args, **options)
        fence_requests(self.poolmanager, self._fence)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """For those through a proxy that the environment names; requests keeps one for each.

        Raises:
            requests.exceptions.ProxyError: for SOCKS, whose connections can't be made to ask.
        """
        if proxy.lower().startswith("socks"):
            raise http.ProxyError("SOCKS is not supported")
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if is_new:
            fence_requests(manager, self._fence)
        return manager


def _prepare(session: requests.Session, fence: Callable[[], None]) -> None:
    session.max_redirects = 0  # a server that redirects our request is not Google
    fenced = _FencedAdapter(fence)
    for scheme in ("https://", "http://"):
        session.mount(scheme, fenced)


def ask_iam(clients: Clients, method: str, path: str, *, permission: str, body: object = None) -> dict[str, Any]:
    """One request to IAM; its answer.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: IAM refuses; inside `translated` of the caller, who may know
            what a refusal means.
    """
    call = Call(url=clients.parameters.iam_endpoint, permission=permission)
    return _ask(clients, method, f"{call.url}/v1/{path}", call, body)


def ask_storage(clients: Clients, method: str, path: str, *, permission: str, body: object = None) -> dict[str, Any]:
    """One request to the JSON API of Cloud Storage, for what its client does not send as it should; as `ask_iam`."""
    call = Call(url=clients.parameters.endpoint, permission=permission)
    return _ask(clients, method, f"{call.url}/storage/v1/{path}", call, body)


def _ask(clients: Clients, method: str, url: str, call: Call, body: object) -> dict[str, Any]:
    with translated_but_refusals(call):
        response = clients.session.request(method, url, json=body, timeout=clients.timeout)
        if not response.ok:
            raise api.from_http_response(response)
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer


@contextmanager
def translated_but_refusals(call: Call) -> Iterator[None]:
    """As `translated`, but lets through what an API answered."""
    try:
        with translated(call):
            try:
                yield
            except api.GoogleAPICallError as refusal:
                raise _Through(refusal) from refusal
    except _Through as through:
        raise through.refusal from None


class _Through(BaseException):
    """Carries a refusal past `translated`."""

    def __init__(self, refusal: api.GoogleAPICallError) -> None:
        super().__init__()
        self.refusal = refusal
