"""Access as data: stored access policies, shared access signatures, and what a claim's Secret holds of them.

Pure builders and decisions, used by `identity` and `provisioner`. Knows no client and makes no call; what a claim is
given stands on this page.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from azure_provisioner.clocks import AHEAD, BEHIND
from libbucket import Authentication, QuotaExceeded, SecretStr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure_provisioner.parameters import Parameters

MOST_POLICIES: Final = 5
"""Azure's limit per container: "Define a stored access policy", REST reference of Azure Storage."""

ACCOUNT: Final = "AZURE_STORAGE_ACCOUNT"
ACCOUNT_NAME: Final = "AZURE_STORAGE_ACCOUNT_NAME"
SAS_TOKEN: Final = "AZURE_STORAGE_SAS_TOKEN"  # noqa: S105 - the name of a key
CONNECTION_STRING: Final = "AZURE_STORAGE_CONNECTION_STRING"
CONTAINER_URL: Final = "AZURE_STORAGE_CONTAINER_URL"

_CLAIMS: Final = "obc-"
"""What ids of all claims' policies begin with."""

_MOST_CHARACTERS: Final = 4096
_MOST_FIELDS: Final = 64
"""Of a SAS: ours has fifteen fields at most, and some six hundred characters."""
_TOKEN: Final = re.compile("[A-Za-z0-9%&=._~+/:-]+")
_LONGEST_TIME: Final = 40
_YEARS: Final = range(1970, 9000)
"""Whatever is added to a time, or taken from it, is a time, too."""

_TURNED: Final = BEHIND - AHEAD
"""By how much a policy may seem to begin in the future to a clock that was turned back: it works all the same."""
_NEXT_REPLACEMENT: Final = timedelta(hours=2)
_BIRTHS: Final = re.compile("([0-9a-f]{8})-([0-9a-f]{8})-[0-9a-f]{8}")

_SIGNED_FIELDS: Final = ("si", "sip", "spr", "sv", "sr", "snapshot", "ses", "rscc", "rscd", "rsce", "rscl", "rsct")
"""What is signed behind the container's name, in this order: "Create a service SAS", version 2020-12-06 and later."""

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, kw_only=True)
class StoredPolicy:
    """One stored access policy as the container has it: Azure's own text, so that it is written back as it was read.

    Attributes:
        id: at most 64 characters.
        start: when it begins; None where it always did.
        expiry: when it ends; None where every SAS says so for itself.
        permission: letters; None where every SAS says so for itself.
    """

    id: str
    start: str | None = None
    expiry: str | None = None
    permission: str | None = None


@dataclass(frozen=True, kw_only=True)
class Acl:
    """What one call of Azure reads and another writes, always as a whole.

    Attributes:
        public_access: `container`, `blob`, or None for a private container.
        policies: in their order.
    """

    public_access: str | None
    policies: tuple[StoredPolicy, ...]

    def of_claim(self, prefix: str) -> tuple[StoredPolicy, ...]:
        """The claim's own policies: one, or none."""
        return tuple(policy for policy in self.policies if policy.id.startswith(prefix))

    def without_claims(self) -> Acl | None:
        """The same without the policies of any claim, and private; None where no claim has one."""
        rest = tuple(policy for policy in self.policies if not policy.id.startswith(_CLAIMS))
        return None if rest == self.policies else Acl(public_access=None, policies=rest)

    def without_claim(self, prefix: str) -> Acl | None:
        """The same without the claim's policies; None where it had none, so that nothing is written."""
        rest = tuple(policy for policy in self.policies if not policy.id.startswith(prefix))
        return None if rest == self.policies else replace(self, policies=rest)


@dataclass(frozen=True, kw_only=True)
class Sas:
    """A shared access signature, as far as it can be read without the key that signed it.

    Attributes:
        token: the query string.
        policy: id of the stored access policy that it is bound to; empty where it is bound to none.
        permission: letters; empty where a policy says so.
        expiry: when it ends; None where a policy says so.
        fields: all of it.
    """

    token: SecretStr
    policy: str
    permission: str
    expiry: datetime | None
    fields: Mapping[str, str]

    def is_signed_by(self, key: SecretStr, account: str, container: str) -> bool:
        """Whether the account's key has signed it for this container: then no refusal proves anything against it."""
        head = [self.fields.get(name, "") for name in ("sp", "st", "se")]
        tail = [self.fields.get(name, "") for name in _SIGNED_FIELDS]
        signed = "\n".join([*head, f"/blob/{account}/{container}", *tail])
        made = hmac.new(base64.b64decode(key.reveal()), signed.encode(), hashlib.sha256).digest()
        return hmac.compare_digest(base64.b64encode(made), self.fields.get("sig", "").encode())


def build_prefix(user_id: str) -> str:
    """What ids of a claim's stored access policies begin with.

    A hash, because a user id may have 64 characters, which is all that an id may have.
    """
    return f"{_CLAIMS}{hashlib.sha256(user_id.encode()).hexdigest()[:32]}-"


def build_id(prefix: str, now: datetime, *, replaced: str = "") -> str:
    """A policy id that was never given before: else a SAS of a policy that was removed would work again.

    Args:
        prefix: of the claim.
        now: when it is made: the id says so.
        replaced: id of the policy that it replaces: the id says when that was made, too.
    """
    return f"{prefix}{int(now.timestamp()):08x}-{_births(replaced, prefix)[0]:08x}-{secrets.token_hex(4)}"


def _births(policy: str, prefix: str) -> tuple[int, int]:
    """When a policy was made, and when the one before it; 0 where its id does not say."""
    found = _BIRTHS.fullmatch(policy.removeprefix(prefix))
    return (int(found[1], 16), int(found[2], 16)) if found is not None else (0, 0)


def _may_be_replaced(policy: str, prefix: str, now: datetime) -> bool:
    """Whether no more than one other was made within the last two hours: no hour of a stuck claim has more than two.

    One that was made in the future, by a clock that was turned back since, was made at no time that is known.
    """
    passed = now.timestamp() - _births(policy, prefix)[1]
    return not -_TURNED.total_seconds() <= passed < _NEXT_REPLACEMENT.total_seconds()


def decide_policy(
    acl: Acl, prefix: str, parameters: Parameters, now: datetime, *, is_lost: bool = False
) -> tuple[StoredPolicy, Acl | None]:
    """What the claim's policy is to be, and what to write for it: None where it is so already.

    Start and end of a policy are moved in place when less than half of its time is left: no SAS changes by that. It has
    a start, and lasts as long as the class says from there, because an account may limit that: "Configure an expiration
    policy for shared access signatures", which excepts no SAS that is bound to a stored access policy. Where the claim
    has lost its SAS, others may have found it: it gets another policy, and the old one goes.

    Args:
        acl: of the container.
        prefix: what ids of this claim's policies begin with.
        parameters: of the class.
        now: by the core's clock.
        is_lost: the claim was bound, and its Secret holds no SAS.

    Raises:
        QuotaExceeded: the container has no room for another policy.
    """
    own = acl.of_claim(prefix)
    is_replaced = is_lost and bool(own) and _may_be_replaced(own[0].id, prefix, now)
    if own and not is_replaced and _is_right(own[0], parameters, now):
        return own[0], None
    starts = now - AHEAD
    wanted = StoredPolicy(
        id=own[0].id if own and not is_replaced else build_id(prefix, now, replaced=own[0].id if own else ""),
        start=format_time(starts),
        expiry=format_time(starts + parameters.lifetime),
        permission=parameters.permissions,
    )
    if own:
        kept = (wanted if policy is own[0] else policy for policy in acl.policies if policy not in own[1:])
        return wanted, replace(acl, policies=tuple(kept))
    if len(acl.policies) >= MOST_POLICIES:
        of_claims = sum(policy.id.startswith(_CLAIMS) for policy in acl.policies)
        raise QuotaExceeded(
            f"the container has {MOST_POLICIES} stored access policies already, {of_claims} of them of claims "
            f"({_CLAIMS}*), and Azure allows no more: delete another claim on it, or a policy that nothing uses, or "
            "have the StorageClass say credentials: user-delegation-sas"
        )
    return wanted, replace(acl, policies=(*acl.policies, wanted))


def has_drifted(acl: Acl, prefix: str, parameters: Parameters, now: datetime) -> bool:
    """Whether the claim's policy was removed or changed, rather than that its time has come to be moved."""
    own = acl.of_claim(prefix)
    ends = parse_time(own[0].expiry) if own else None
    starts = parse_time(own[0].start) if own else None
    is_ours = ends is not None and now < ends <= now + parameters.lifetime + _TURNED
    has_begun = starts is None or starts <= now + _TURNED
    return not is_ours or not has_begun or own[0].permission != parameters.permissions


def renewal_of(expiry: datetime, parameters: Parameters) -> datetime:
    """When to renew what ends at `expiry`: when half of its time is left."""
    return expiry - parameters.lifetime / 2


def parse_held(held: Authentication | None) -> Sas | None:
    """The SAS that a claim's Secret holds; None where it holds none that can be read."""
    token = held.additional_secret_data.get(SAS_TOKEN) if held is not None else None
    if not token or len(token.reveal()) > _MOST_CHARACTERS or not _TOKEN.fullmatch(token.reveal()):
        return None
    try:
        found = parse_qs(token.reveal(), max_num_fields=_MOST_FIELDS)
    except ValueError:
        return None
    fields = {name: values[0] for name, values in found.items()}
    return Sas(
        token=token,
        policy=fields.get("si", ""),
        permission=fields.get("sp", ""),
        expiry=parse_time(fields.get("se")),
        fields=fields,
    )


def build_secret(parameters: Parameters, container: str, sas: SecretStr) -> Mapping[str, SecretStr]:
    """What the claim's Secret holds: everything of it but the account's name gives access. Never the account's key."""
    token = sas.reveal()
    return {
        ACCOUNT: SecretStr(parameters.account),
        ACCOUNT_NAME: SecretStr(parameters.account),
        SAS_TOKEN: sas,
        CONNECTION_STRING: SecretStr(f"BlobEndpoint={parameters.url}/;SharedAccessSignature={token}"),
        CONTAINER_URL: SecretStr(f"{parameters.url}/{container}?{token}"),
    }


def build_identity_secret(parameters: Parameters, container: str) -> Mapping[str, SecretStr]:
    """What the Secret of a claim holds whose application has an identity of its own: addresses, and no key."""
    return {
        ACCOUNT: SecretStr(parameters.account),
        ACCOUNT_NAME: SecretStr(parameters.account),
        CONTAINER_URL: SecretStr(f"{parameters.url}/{container}"),
    }


def format_time(time: datetime) -> str:
    """A time as Azure writes it, in whole seconds."""
    return time.astimezone(UTC).strftime(_TIME)


def parse_time(text: str | None) -> datetime | None:
    """A time as Azure writes it, with or without fractions of a second; None where there is none to be read."""
    if not text or len(text) > _LONGEST_TIME:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if found.year not in _YEARS:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _is_right(policy: StoredPolicy, parameters: Parameters, now: datetime) -> bool:
    starts = parse_time(policy.start)
    has_begun = starts is not None and starts <= now + _TURNED
    is_young = _is_young(policy.expiry, parameters.lifetime, now)
    return policy.permission == parameters.permissions and has_begun and is_young


def _is_young(expiry: str | None, lifetime: timedelta, now: datetime) -> bool:
    """Whether more than half of its time is left, and not more than the class allows."""
    ends = parse_time(expiry)
    return ends is not None and lifetime / 2 < ends - now <= lifetime + _TURNED
