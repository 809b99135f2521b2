"""Who sends a request to the fake, and what it may do: account keys, tokens, shared access signatures.

Used by `service`. Signatures are checked as "Authorize with Shared Key" has it, and those of SAS by making the same one
with Azure's own client. Raises what Azure answers, `Refusal`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from azure.storage.blob import UserDelegationKey, generate_container_sas

from testkit.azure.fake_storage.model import Policy, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from testkit.azure.fake_storage.model import Container
    from testkit.azure.front_rules import Request

LETTERS: Final[Mapping[str, str]] = {
    "ListBlobs": "l",
    "GetBlob": "r",
    "GetBlobProperties": "r",
    "PutBlob": "wc",
    "PutBlock": "wc",
    "PutBlockList": "wc",
    "DeleteBlob": "d",
}
"""Letters of which a SAS needs one: "Create a service SAS", permissions for a container. All else is refused."""

LONGEST_KEY: Final = timedelta(days=7)
"""Of a user delegation key: "Get User Delegation Key"."""

OLDEST: Final = timedelta(minutes=15)
"""Of a request that is signed with a key: "Authorize with Shared Key"."""

_SIGNED: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
_OID, _TID = "66666666-7777-8888-9999-000000000000", "11111111-2222-3333-4444-555555555555"


@dataclass(frozen=True, kw_only=True)
class Signatures:
    """Of one account.

    Attributes:
        account: its name.
        keys: two, base64.
        generation: how often all user delegation keys were revoked.
    """

    account: str
    keys: Sequence[str]
    generation: int

    def check_shared_key(self, request: Request, now: datetime) -> None:
        """The signature of the Authorization header, and its date: "Authorize with Shared Key".

        "A request is no older than 15 minutes": of one from the future the page says nothing. The detail is that of
        Azure/azure-sdk-for-js#5433.
        """
        dated = request.header("x-ms-date")
        if parsedate_to_datetime(dated) < now - OLDEST:
            raise _unauthenticated(f"Request date header too old: '{dated}'")
        text = self._signed_text(request).encode()
        given = request.header("Authorization").removeprefix("SharedKey ").partition(":")[2]
        if not any(hmac.compare_digest(_hmac(key, text), given) for key in self.keys):
            raise Refusal("AuthenticationFailed", 403, AuthenticationErrorDetail="The MAC signature is not the same.")

    def check_sas(self, request: Request, container: Container | None, now: datetime) -> None:
        """The signature, the times and the letters of a SAS: "Create a service SAS" and "... user delegation SAS"."""
        query = request.query
        is_genuine = self._is_delegated(query, request) if "skoid" in query else self._is_ours(query, request)
        if not is_genuine:
            raise _unauthenticated("Signature did not match.")
        policy = Policy()
        if "si" in query:
            found = container.policies.get(query["si"]) if container is not None else None
            if found is None:
                raise _unauthenticated("Access policy not found.")
            policy = found
        _check_times(query.get("st") or policy.start, query.get("se") or policy.expiry, now)
        if "ske" in query:
            _check_times(query["skt"], query["ske"], now)
        allowed = query.get("sp") or policy.permission
        if not set(LETTERS.get(request.name, "")) & set(allowed):
            raise Refusal("AuthorizationPermissionMismatch", 403)

    def delegation_key(self, start: str, expiry: str) -> Any:
        """A key that the service can make again from the fields of a SAS: "Get User Delegation Key"."""
        made: Any = UserDelegationKey()  # type: ignore[no-untyped-call]
        made.signed_oid, made.signed_tid, made.signed_start, made.signed_expiry = _OID, _TID, start, expiry
        made.signed_service, made.signed_version = "b", "2026-10-06"
        made.value = _hmac(self.keys[0], f"{start} {expiry} {self.generation}".encode())
        return made

    def _is_ours(self, query: Mapping[str, str], request: Request) -> bool:
        made = (
            generate_container_sas(
                self.account,
                request.container,
                account_key=key,
                policy_id=query.get("si"),
                permission=query.get("sp"),
                start=query.get("st"),
                expiry=query.get("se"),
                protocol=query.get("spr"),
            )
            for key in self.keys
        )
        return any(parse_qs(each)["sig"][0] == query["sig"] for each in made)

    def _is_delegated(self, query: Mapping[str, str], request: Request) -> bool:
        key = self.delegation_key(query["skt"], query["ske"])
        made = generate_container_sas(
            self.account,
            request.container,
            user_delegation_key=key,
            permission=query.get("sp"),
            start=query.get("st"),
            expiry=query.get("se"),
            protocol=query.get("spr"),
        )
        return parse_qs(made)["sig"][0] == query["sig"]

    def _signed_text(self, request: Request) -> str:
        headers = {name.lower(): value for name, value in request.headers.items()}
        length = headers.get("content-length", "")
        plain = {**headers, "content-length": "" if length == "0" else length}
        lines = [request.method, *(plain.get(name, "") for name in _SIGNED)]
        own = sorted(f"{name}:{value.strip()}" for name, value in headers.items() if name.startswith("x-ms-"))
        path = request.path.partition("/")[2].partition("/")[2]
        asked = sorted(f"{name.lower()}:{value}" for name, value in request.query.items())
        return "\n".join([*lines, *own, f"/{self.account}/{path}", *asked])


def _check_times(start: str, end: str, now: datetime) -> None:
    if not end:
        raise _unauthenticated("Signed expiry time is missing.")
    if (start and now < parse_time(start)) or now >= parse_time(end):
        raise _unauthenticated("Signature not valid in the specified time frame.")


def parse_time(text: str) -> datetime:
    """A time of a SAS, a policy or a key; a date alone is its midnight."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise _unauthenticated("A time is not well formed.") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _unauthenticated(detail: str) -> Refusal:
    return Refusal("AuthenticationFailed", 403, AuthenticationErrorDetail=detail)


def _hmac(key: str, text: bytes) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(key), text, hashlib.sha256).digest()).decode()
