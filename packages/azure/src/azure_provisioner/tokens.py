"""Tokens for the administrator's identity: asked for, and used until they end. A refusal that may pass says so.

Used by `client`. A request for a token goes to the authority that issues it (Entra ID, or the machine's identity
service) and never to the store: so it does not ask the core's fence, and a claim whose identity never got a token has
left nothing anywhere. Translates what authorities answer, by statuses and codes. Codes are read only to choose between
two ways of waiting: Microsoft changes them without notice ("Microsoft Entra authentication and authorization error
codes"), and an unknown one is a refusal.
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import AzureError

from azure_provisioner.errors import from_status, is_outage, request_id_of
from azure_provisioner.faults import chain, tls_failure, transport_fault
from libbucket import AccessDenied, NotReady, ProvisionerError, StoreUnavailable, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from azure.core.credentials import AccessToken

_AUTHORITY: Final = "the authority that issues tokens"
_MACHINE: Final = "the machine's identity service"

_PATIENCE_SECONDS: Final = 60.0
"""For how long a refusal that may pass is not taken for the authority's last word."""
_PAUSE_SECONDS: Final = 900.0
"""Between two refusals that are one: claims are retried more often than that."""
_AGAIN_SECONDS: Final = 3.0
_MARGIN_SECONDS: Final = 300
"""A token is not used for the last five minutes of its time: as Azure's own clients do."""

_NO_FEDERATION: Final = frozenset({70021, 700211, 700213})
"""No federated credential matches the token that was shown: said for some minutes after one was made, and of some
percent of good requests (kedacore/keda#8152, Azure/azure-workload-identity#976)."""
_TRANSIENT: Final = frozenset({90024, 90033})
""""A transient error has occurred. Please try again": Microsoft Entra error codes."""
_HINTS: Final[Mapping[int, str]] = {
    **dict.fromkeys(
        _NO_FEDERATION,
        "no federated credential of the application matches issuer, subject and audience of the pod's token, or it was "
        "made minutes ago",
    ),
    700027: "the certificate is not registered with the application, or has expired: register it, or correct "
    "AZURE_CLIENT_CERTIFICATE",
    700016: "the tenant has no such application: correct AZURE_CLIENT_ID or AZURE_TENANT_ID",
    7000215: "the client's secret is wrong: AZURE_CLIENT_SECRET must hold its value, not its id",
    7000222: "the client's secret has expired: put a new one into AZURE_CLIENT_SECRET",
    90002: "there is no such tenant: correct AZURE_TENANT_ID or parameter authorityHost",
}
_BUSY_MACHINE: Final = frozenset({404, 410})
"""While it is updated, for up to 70 seconds: "How to use managed identities on an Azure VM", retry guidance."""
_BUSY_SECONDS: Final = 30.0
_WORD: Final = re.compile("[A-Za-z_]{1,40}")


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A refusal of an authority.

    Attributes:
        request_id: what its operators find it by.
        status: of HTTP; 0 where nobody answered.
        error: of OAuth 2.0, such as `invalid_client`; empty where it is no such word.
        codes: Entra ID's own numbers.
    """

    request_id: str
    status: int = 0
    error: str = ""
    codes: frozenset[int] = frozenset()

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed a moment later, though it was refused."""
        return bool(self.codes & _NO_FEDERATION)

    @property
    def is_outage(self) -> bool:
        """Whether it says nothing about the identity."""
        return self.error == "temporarily_unavailable" or bool(self.codes & _TRANSIENT)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """An identity that tokens are issued to, and how it asks.

    Attributes:
        named: what messages call it.
        key: what tells it from every other identity.
        connect: makes a credential of azure-identity, whose answers go to the given hook.
        is_machine: the machine's identity service is asked, and not Entra ID.
    """

    named: str
    key: str
    connect: Callable[[Callable[[Any], None]], AbstractContextManager[Any]]
    is_machine: bool = False


def identity_key(*parts: str) -> str:
    """Tells identities apart without holding their secrets."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens of this process: one for each identity, until shortly before it ends.

    Attributes:
        clock: seconds that never run backwards.
    """

    clock: Callable[[], float] = time.monotonic
    _kept: dict[str, AccessToken] = field(default_factory=dict)
    _refused: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, identity: Identity) -> AccessToken | None:
        """The token of an identity; None where it has none that lasts."""
        with self._lock:
            found = self._kept.get(identity.key)
        return found if found is not None and _lasts(found) else None

    def keep(self, identity: Identity, token: AccessToken) -> None:
        """Remembers a token, and forgets those that have ended."""
        with self._lock:
            for key in [key for key, each in self._kept.items() if not _lasts(each)]:
                del self._kept[key]
            self._kept[identity.key] = token

    def note_success(self, identity: Identity) -> None:
        """An identity was issued a token: earlier refusals have passed."""
        with self._lock:
            self._refused.pop(identity.key, None)

    def is_recent(self, identity: Identity) -> bool:
        """Whether an identity that is refused was not refused a minute ago already: then it may pass.

        Refusals between which there was a long pause, or a token, are not one.
        """
        with self._lock:
            now = self.clock()
            held = {key: each for key, each in self._refused.items() if now - each[1] < _PAUSE_SECONDS}
            since = held.get(identity.key, (now, now))[0]
            self._refused.clear()
            self._refused.update({**held, identity.key: (since, now)})
        return now - since < _PATIENCE_SECONDS

    def forget(self, identity: Identity) -> None:
        """Forgets the token of an identity: the store refused it."""
        with self._lock:
            self._kept.pop(identity.key, None)


class KeptCredential:
    """What Azure's client asks for a token; follows the protocol `TokenCredential`.

    Args:
        identity: who asks.
        tokens: of this process.
    """

    def __init__(self, identity: Identity, tokens: Tokens) -> None:
        self._identity = identity
        self._tokens = tokens
        self._asked: set[Identity] = set()

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for the store.

        Raises:
            ProvisionerError: the authority refuses, or does not answer.
        """
        is_usual = not options.get("claims") and not options.get("tenant_id")
        of_scope = replace(self._identity, key=identity_key(self._identity.key, *scopes))
        self._asked.add(of_scope)
        kept = self._tokens.get(of_scope) if is_usual else None
        if kept is not None:
            return kept
        token = self._ask_once(scopes, options)
        if is_usual:
            self._tokens.keep(of_scope, token)
        self._tokens.note_success(self._identity)
        return token

    def forget(self) -> None:
        """Asks the authority the next time."""
        for each in self._asked:
            self._tokens.forget(each)

    def _ask_once(self, scopes: tuple[str, ...], options: Mapping[str, Any]) -> AccessToken:
        heard: list[Heard] = []
        try:
            return self._ask(heard, scopes, options)
        except (AzureError, OSError, ValueError) as error:
            # The first: after a refusal the authority library goes on to ask other things.
            first = heard[0] if heard else None
            refusal = _refusal(error, self._identity, first)
            if first is not None and first.may_pass and self._tokens.is_recent(self._identity):
                raise _not_yet(refusal, self._identity) from error
            raise refusal from error

    def _ask(self, heard: list[Heard], scopes: tuple[str, ...], options: Mapping[str, Any]) -> AccessToken:
        # A new client each time: the authority library answers from its memory what was refused a moment ago.
        with self._identity.connect(_hook(heard, is_machine=self._identity.is_machine)) as credential:
            token: AccessToken = credential.get_token(*scopes, **options)
            return token


def _not_yet(refusal: ProvisionerError, identity: Identity) -> ProvisionerError:
    """A refusal of which some pass: no worker waits for that."""
    delay = _AGAIN_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
    message = f"Entra ID refused {identity.named} a token, as it does for a moment with some valid requests: retried"
    return NotReady(message, delay=delay, request_id=refusal.request_id)


def _hook(heard: list[Heard], *, is_machine: bool) -> Callable[[Any], None]:
    """Tells a busy or broken authority from one that refuses: azure-identity says the same of both."""

    def hear(response: Any) -> None:
        answer = response.http_response
        status, headers = answer.status_code, answer.headers
        if is_machine and status in _BUSY_MACHINE:
            raise StoreUnavailable(
                f"{_MACHINE} is being updated (HTTP {status})",
                delay=_BUSY_SECONDS,
                request_id=request_id_of(headers),
            )
        if is_outage(status):
            raise from_status(status, headers, _MACHINE if is_machine else _AUTHORITY)
        if status >= 400:
            heard.append(_read(answer))

    return hear


def _read(answer: Any) -> Heard:
    """A refusal; without codes where it has no form that is known."""
    request_id, status = request_id_of(answer.headers), answer.status_code
    try:
        found = parse_json(answer.body().decode())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return Heard(request_id=request_id, status=status)
    numbers, error = found.get("error_codes"), found.get("error")
    trace = request_id_of({"x-ms-request-id": str(found.get("trace_id") or found.get("correlation_id") or "")})
    return Heard(
        request_id=request_id or trace,
        status=status,
        error=error if isinstance(error, str) and _WORD.fullmatch(error) else "",
        codes=frozenset(each for each in numbers if isinstance(each, int))
        if isinstance(numbers, list)
        else frozenset(),
    )


def _refusal(error: Exception, identity: Identity, heard: Heard | None) -> ProvisionerError:
    found = list(chain(error))
    own = next((each for each in found if isinstance(each, ProvisionerError)), None)
    if own is not None:
        return own
    if any(isinstance(each, FileNotFoundError | PermissionError) for each in found):
        return AccessDenied(
            f"{identity.named} can't be used: the file that AZURE_FEDERATED_TOKEN_FILE names can't be read"
        )
    if heard is not None:
        return _from_refusal(heard, identity)
    tls = tls_failure(error, _AUTHORITY, "authorityHost")
    if tls is not None:
        return tls
    return _without_answer(error, identity)


def _without_answer(error: Exception, identity: Identity) -> ProvisionerError:
    """From an authority that was never reached, or that answered with something else."""
    found = list(chain(error))
    is_cut = any(isinstance(each, OSError) or type(each).__name__.startswith("Service") for each in found)
    # Outside Azure nobody listens there.
    is_absent = any(type(each).__name__ == "NewConnectionError" for each in found) or not is_cut
    if identity.is_machine and is_absent:
        return _no_identity(identity, Heard(request_id=""))
    if identity.is_machine:
        return StoreUnavailable(
            f"{_MACHINE} does not answer: {transport_fault(error)}; the pod's network policy has to let it reach "
            "169.254.169.254, port 80, or the class names a Secret with secretName"
        )
    if is_cut:
        return StoreUnavailable(f"{_AUTHORITY} does not answer: {transport_fault(error)}")
    return _from_refusal(Heard(request_id=""), identity)


def _said(heard: Heard) -> str:
    """What an authority said, where it has no code of Entra ID's."""
    return f" (HTTP {heard.status}{f': {heard.error}' if heard.error else ''})" if heard.status else ""


def _no_identity(identity: Identity, heard: Heard) -> AccessDenied:
    return AccessDenied(
        f"{identity.named} can't be used: this pod has neither workload identity (AZURE_CLIENT_ID, AZURE_TENANT_ID, "
        f"AZURE_FEDERATED_TOKEN_FILE) nor managed identity{_said(heard)}; or let the class name a Secret with "
        "secretName",
        request_id=heard.request_id,
    )


def _from_refusal(heard: Heard, identity: Identity) -> ProvisionerError:
    if identity.is_machine:
        return _no_identity(identity, heard)
    if heard.is_outage:
        return StoreUnavailable(f"{_AUTHORITY} fails, and says that it passes", request_id=heard.request_id)
    code = next((code for code in sorted(heard.codes) if code in _HINTS), min(heard.codes, default=None))
    known = _HINTS.get(code, "") if code is not None else ""
    hint = known or ("check tenant, client and secret (or the federated credential), and parameter authorityHost")
    named = f" (AADSTS{code})" if code is not None else _said(heard)
    return AccessDenied(f"Entra ID issues no token to {identity.named}: {hint}{named}", request_id=heard.request_id)


def _lasts(token: AccessToken) -> bool:
    return token.expires_on - time.time() > _MARGIN_SECONDS
