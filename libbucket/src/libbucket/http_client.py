"""Requests to a store with an HTTP API and no SDK: time limits, the leadership check, and errors of libbucket.

A provisioner describes its store's API once, as `HttpApi`, and opens an `HttpClient` in each verb:

    with API.connect(endpoint, services.before_request, headers={"Authorization": token}) as store:
        store.request("PUT", "buckets", name, json={"tags": tags}, accept={409})

Each request is sent once: no redirect is followed, and nothing is retried, because the core retries. It calls the
request hook after its connection is established, and its answer ends within one time limit, from the first byte to the
last. What is not accepted is raised as an error of libbucket: docs/writing-a-provisioner.md has the table. No error
repeats anything of an answer but its status, its code and its request id. Knows no store.
"""

from __future__ import annotations

import json as json_text
import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from libbucket.errors import (
    AccessDenied,
    InvalidAdminSecret,
    InvalidClaim,
    InvalidParameters,
    ProvisionerError,
    StoreRefused,
    StoreUnavailable,
    Throttled,
)
from libbucket.fencing import fence_requests
from libbucket.headers import parse_retry_after
from libbucket.types import SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import TracebackType
    from typing import Self

    from urllib3 import BaseHTTPResponse, PoolManager

    from libbucket.types import AccessKeys

_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_FEWER: Final = 429
_TIMEOUT: Final = 408
_CHUNK: Final = 64 * 1024
_LONGEST_SECRET: Final = 1024


@dataclass(frozen=True, kw_only=True)
class HttpApi:
    """What is the same for every server of one kind of store.

    Attributes:
        name: of the store, as messages begin: "Depot at https://... refuses ...".
        seconds: time limit for one answer as a whole.
        connect_seconds: time limit for a connection, with its TLS handshake.
        max_bytes: of one answer; a longer one is `StoreRefused`.
        media_type: of every answer with a body; another one, below status 500, is no answer of this store.
        error_media_type: the same from status 400 on, such as `application/problem+json`; "" for `media_type`.
        errors: what a code is raised as, where an answer below status 500 is not accepted; an error's class, or a
            function of its message. What is not in it is decided by the status.
        code_key: the member of a JSON error that holds the store's error code; `error.code` is the member `code` of the
            member `error`. Only a short code of letters, digits and `_.:-` is shown.
        request_id_header: the header with the id of an answer.
        parameter: the class parameter that holds the address, for messages.
    """

    name: str
    seconds: float = 30.0
    connect_seconds: float = 5.0
    max_bytes: int = 4 * 1024 * 1024
    media_type: str = "application/json"
    error_media_type: str = ""
    errors: Mapping[str, Callable[[str], ProvisionerError]] = field(default_factory=dict)
    code_key: str = "code"
    request_id_header: str = "X-Request-Id"
    parameter: str = "endpoint"

    def connect(
        self,
        url: str,
        before_request: Callable[[], None],
        *,
        headers: Mapping[str, str | SecretStr] | None = None,
        ca_bundle: str = "",
    ) -> HttpClient:
        """A client for one verb; sends nothing yet. Close it, or use it in a `with` block.

        Args:
            url: of the server, as `ParameterReader.url` gives it; may have a path.
            before_request: `Services.before_request`.
            headers: of every request; give a credential as `SecretStr`.
            ca_bundle: PEM of the certificate authorities to trust; empty for the system's.

        Raises:
            InvalidParameters: `ca_bundle` holds no certificate.
        """
        return HttpClient(self, url, before_request, headers=headers or {}, ca_bundle=ca_bundle)


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """An answer that the caller accepts. Its `repr` shows neither headers nor body.

    Attributes:
        status: 2xx, or one that `accept` names.
        headers: of the answer; names in any case.
        body: as it came.
        request_id: of the answer; "" if it has none.
        source: "Depot at https://...", for messages.
        parameter: `HttpApi.parameter`.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    request_id: str = ""
    source: str = ""
    parameter: str = "endpoint"

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            InvalidParameters: it is not JSON: the address is not the store's.
        """
        try:
            return json_text.loads(self.body)
        except (ValueError, RecursionError):
            mistake = f"{self.parameter} does not name a store: {self.source} answers with something that is no JSON"
            raise _with_id(InvalidParameters([mistake]), self.request_id) from None


class HttpClient:
    """Sends requests to one server; made by `HttpApi.connect`. For one verb, and so for one thread.

    An error of libbucket that leaves its `with` block without a request id gets the one of the last answer.
    """

    def __init__(
        self,
        api: HttpApi,
        url: str,
        before_request: Callable[[], None],
        *,
        headers: Mapping[str, str | SecretStr],
        ca_bundle: str,
    ) -> None:
        self._api, self._url = api, url.rstrip("/")
        self._source = f"{api.name} at {self._url}"
        self._headers = dict(headers)
        self._request_id = ""
        self._pool = _pool(api, before_request, ca_bundle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
        if isinstance(error, ProvisionerError) and not error.request_id:
            error.request_id = self._request_id  # of what the caller decided on: the last answer

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def request(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str | SecretStr] | None = None,
        accept: Collection[int] = (),
    ) -> HttpAnswer:
        """Sends one request, once, and gives the answer.

        Args:
            method: such as "PUT".
            path: the parts of the path; each is quoted, so that a bucket's name stays one part of it.
            query: the parameters after the path.
            json: the body, sent as JSON; None for none.
            headers: of this request, in place of the client's own of the same name. If one is a `SecretStr`, no
                `SecretStr` of the client's own is sent: the request has a claim's credentials, not the administrator's.
            accept: statuses below 500 that are returned besides 2xx, such as 404 for something that may be gone.

        Raises:
            Throttled: 429, or 503 with `Retry-After`.
            StoreUnavailable: no answer within the time limit, 408, or 5xx.
            InvalidParameters: the address does not name this store, or redirects; its certificate is not trusted.
            AccessDenied: 401 and 403.
            StoreRefused: every other status; more than `max_bytes`.
            InvalidAdminSecret: a `SecretStr` of the headers has a character that no header may have.
        """
        route = "/".join(_part(each) for each in path)
        target = f"{self._url}/{route}{'?' + urlencode(query) if query else ''}"
        body = None if json is None else json_text.dumps(json).encode()
        sent = {"Accept": self._api.media_type, **self._own_headers(headers or {}), **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        self._request_id = ""
        answer = self._exchange(method, target, body, _revealed(sent))
        self._request_id = answer.request_id
        self._check(answer, f"{method} /{route}", accept)
        return answer

    def find(
        self, *path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str | SecretStr] | None = None
    ) -> Any:
        """What is there, as JSON: a GET for something that may be gone.

        Args:
            path: as in `request`.
            query: as in `request`.
            headers: as in `request`.

        Returns:
            The body of the answer; None where its status is 404.

        Raises:
            ProvisionerError: as `request` and `HttpAnswer.json` raise it.
        """
        answer = self.request("GET", *path, query=query, headers=headers, accept={404})
        return None if answer.status == 404 else answer.json()

    def _own_headers(self, others: Mapping[str, str | SecretStr]) -> Mapping[str, str | SecretStr]:
        """The client's headers, without its credentials where a request has its own."""
        if not any(isinstance(value, SecretStr) for value in others.values()):
            return self._headers
        return {name: value for name, value in self._headers.items() if not isinstance(value, SecretStr)}

    def _exchange(self, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> HttpAnswer:
        from urllib3.exceptions import HTTPError

        try:
            with self._pool.request(
                method, target, body=body, headers=headers, redirect=False, preload_content=False
            ) as response:
                content = self._read(response)
        except HTTPError as error:
            raise self._transport_error(error) from None  # its text may hold what the server sent
        found = response.headers.get(self._api.request_id_header, "")
        return HttpAnswer(
            status=response.status,
            headers=response.headers,
            body=content,
            request_id=found if _REQUEST_ID.fullmatch(found) else "",
            source=self._source,
            parameter=self._api.parameter,
        )

    def _read(self, response: BaseHTTPResponse) -> bytes:
        content = bytearray()
        for chunk in response.stream(_CHUNK, decode_content=False):
            content += chunk
            if len(content) > self._api.max_bytes:
                raise StoreRefused(f"{self._source} answers with more than {self._api.max_bytes:,} bytes")
        return bytes(content)

    def _check(self, answer: HttpAnswer, request: str, accept: Collection[int]) -> None:
        """The table of statuses and errors, in the order in which they are decided."""
        error = self._failure(answer, request) or self._stranger(answer)
        if error is None and not (200 <= answer.status < 300 or answer.status in accept):
            error = self._refusal(answer, request)
        if error is not None:
            raise _with_id(error, answer.request_id)

    def _failure(self, answer: HttpAnswer, request: str) -> ProvisionerError | None:
        delay = parse_retry_after(answer.headers.get("Retry-After"))
        if answer.status == _FEWER or (answer.status == 503 and delay is not None):
            return Throttled(f"{self._source} asks for fewer requests", delay=delay)
        if answer.status >= 500 or answer.status == _TIMEOUT:
            return StoreUnavailable(f"{self._source} fails: {self._outcome(answer, request)}")
        return None

    def _stranger(self, answer: HttpAnswer) -> ProvisionerError | None:
        parameter = self._api.parameter
        if 300 <= answer.status < 400:
            return InvalidParameters([f"{parameter} is redirected: {self._source} answers with HTTP {answer.status}"])
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        expected = (answer.status >= 400 and self._api.error_media_type) or self._api.media_type
        if answer.body and kind != expected:
            what = f"HTTP {answer.status} and something that is no {expected}"
            return InvalidParameters([f"{parameter} does not name a store: {self._source} answers with {what}"])
        return None

    def _refusal(self, answer: HttpAnswer, request: str) -> ProvisionerError:
        outcome, own = self._outcome(answer, request), self._api.errors.get(_code_in(answer.body, self._api.code_key))
        if own is not None:
            return own(f"{self._source} refuses a request: {outcome}")
        if answer.status == 401:
            return AccessDenied(f"{self._source} does not accept the administrator's credentials: {outcome}")
        if answer.status == 403:
            return AccessDenied(f"the administrator's credentials lack a permission at {self._source}: {outcome}")
        return StoreRefused(f"{self._source} refuses a request: {outcome}")

    def _outcome(self, answer: HttpAnswer, request: str) -> str:
        code = _code_in(answer.body, self._api.code_key)
        return f"{request} was answered with HTTP {answer.status}{' ' + code if code else ''}"

    def _transport_error(self, error: Exception) -> ProvisionerError:
        from urllib3 import exceptions

        faults: tuple[tuple[type[Exception], str], ...] = (  # the first that fits: some are kinds of others
            (exceptions.NameResolutionError, "its name can't be resolved"),
            (exceptions.NewConnectionError, "the connection is refused"),
            (exceptions.ConnectTimeoutError, "no connection within the time limit"),
            (exceptions.ReadTimeoutError, "no whole answer within the time limit"),
        )
        if isinstance(error, exceptions.SSLError):
            return self._tls_error(error)
        if isinstance(error, exceptions.LocationValueError):
            return InvalidParameters([f"{self._api.parameter} is not an address: {self._url}"])
        fault = next((text for kind, text in faults if isinstance(error, kind)), "the connection was cut")
        return StoreUnavailable(f"{self._source} does not answer: {fault}")

    def _tls_error(self, error: Exception) -> ProvisionerError:
        import ssl

        cause = next((each for each in error.args if isinstance(each, ssl.SSLError)), None)
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = f"the certificate of {self._url} is not trusted ({cause.verify_message})"
            return InvalidParameters([f"{self._api.parameter} or its authorities are wrong: {why}"])
        if getattr(cause, "reason", None) in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}:
            return InvalidParameters([f"{self._api.parameter} must begin with http://: {self._url} speaks no TLS"])
        return StoreUnavailable(f"no TLS connection with {self._source}")


def bearer(token: SecretStr) -> dict[str, SecretStr]:
    """The headers of a request with a bearer token."""
    return {"Authorization": SecretStr(f"Bearer {token.reveal()}")}


def basic(keys: AccessKeys) -> dict[str, SecretStr]:
    """The headers of a request with a pair of keys, by HTTP's Basic authentication.

    A secret is cut at 1,024 characters: an edited Secret may hold a megabyte, which servers answer in no form of their
    own.
    """
    pair = f"{keys.access_key_id}:{keys.secret_access_key.reveal()[:_LONGEST_SECRET]}"
    return {"Authorization": SecretStr(f"Basic {b64encode(pair.encode()).decode()}")}


def _pool(api: HttpApi, before_request: Callable[[], None], ca_bundle: str) -> PoolManager:
    from urllib3 import PoolManager, Timeout

    timeout = Timeout(connect=min(api.connect_seconds, api.seconds), read=api.seconds)
    context = {"ssl_context": _tls(api, ca_bundle)} if ca_bundle else {}
    pool = PoolManager(timeout=timeout, retries=False, maxsize=1, **context)
    fence_requests(pool, before_request, answer_seconds=api.seconds)
    return pool


def _tls(api: HttpApi, ca_bundle: str) -> Any:
    """The given authorities and no others, also those without the extensions that Python 3.13 requires."""
    import ssl

    try:
        context = ssl.create_default_context(cadata=ca_bundle)
    except (ssl.SSLError, ValueError):
        raise InvalidParameters([f"the authorities of {api.name} must be certificates in PEM"]) from None
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _part(text: str) -> str:
    if text in {"", ".", ".."}:
        raise InvalidClaim(f"{text!r} is not a name that a store can have")
    return quote(text, safe="")


def _revealed(headers: Mapping[str, str | SecretStr]) -> dict[str, str]:
    """The headers as they are sent; http.client's own error about a wrong one would repeat its value."""
    sent = {}
    for name, value in headers.items():
        text = value.reveal() if isinstance(value, SecretStr) else value
        if not _HEADER_VALUE.fullmatch(text):
            raise InvalidAdminSecret(f"the value of the header {name} must be printable ASCII in one line")
        sent[name] = text
    return sent


def _code_in(body: bytes, key: str) -> str:
    """The store's error code, if it is one: nothing else of a body may get into a message."""
    try:
        found = json_text.loads(body)
    except (ValueError, RecursionError):
        return ""
    for member in key.split("."):
        found = found.get(member) if isinstance(found, dict) else None
    return found if isinstance(found, str) and _CODE.fullmatch(found) else ""


def _with_id(error: ProvisionerError, request_id: str) -> ProvisionerError:
    error.request_id = request_id
    return error
