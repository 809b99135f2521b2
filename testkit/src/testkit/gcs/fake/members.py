"""Members of allow policies: how one that is written is understood, and how it is shown.

Written from
https://cloud.google.com/iam/docs/principal-identifiers (every form, those of deleted members too)
https://cloud.google.com/iam/docs/allow-policies#handle-deleted-members (a new account of the name is another member)
https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity (`principal://` members)
https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools#State (policies may name
a pool that is active)

Neither page has a form for a deleted identity of a *workload* identity pool, as there is one for users, groups, service
accounts and workforce identities: it is shown as it was. Whether a policy that names one is taken back no page says;
the fake refuses it, as it refuses to add one.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from testkit.gcs.fake.wire import ApiError

if TYPE_CHECKING:
    from testkit.gcs.fake.model import Account, Store

PROJECT_NUMBER: Final = "123456789"
OTHER_POOL: Final = "elsewhere"
"""The one pool of the project besides that of GKE: of another identity provider."""
_POOL: Final = re.compile(
    r"principal://iam\.googleapis\.com/projects/(\d+)/locations/global/workloadIdentityPools/([a-z0-9.:-]+)/subject/(.+)"
)
_SUBJECT: Final = re.compile(r"ns/[a-z0-9-]+/sa/[a-z0-9.-]+")
_WORKFORCE: Final = re.compile(
    r"principal://iam\.googleapis\.com/locations/global/workforcePools/[a-z0-9-]+/subject/[^/]+"
)


def resolve(store: Store, member: str, kept: frozenset[str]) -> str:
    """A member of a policy that is written, as it is stored: service accounts by their uid.

    Args:
        store: of the fake.
        member: as it was sent.
        kept: members that the policy has already, as they are shown.

    Raises:
        ApiError: 400 for what does not exist, and for a deleted member that the policy does not have.
    """
    kind, _, rest = member.partition(":")
    if kind == "principal":
        return _resolve_principal(store, member)
    if kind == "deleted":
        return _resolve_deleted(member, rest, kept)
    if kind != "serviceAccount":
        return member
    if "[" in rest:
        if not store.knobs.workload_pool:
            raise _no_pool(rest.partition("[")[0])
        return member
    account = find_known(store, rest)
    if account is None:
        raise ApiError(400, "invalid", f"Service account {rest} does not exist.")
    return f"serviceAccount:{rest}#{account.uid}"


def show(store: Store, member: str) -> str:
    """A stored member as a policy shows it."""
    name, is_account, uid = member.partition("#")
    if not is_account:
        return member
    email = name.partition(":")[2]
    return name if store.account_of(email, uid) else f"deleted:serviceAccount:{email}?uid={uid}"


def has_pool(store: Store, member: str) -> bool:
    """Whether the pool of a federated identity is there."""
    found = _POOL.fullmatch(member)
    if found is None or found[1] != PROJECT_NUMBER:
        return False
    return found[2] == OTHER_POOL or (found[2] == f"{store.project}.svc.id.goog" and store.knobs.workload_pool)


def find_known(store: Store, email: str) -> Account | None:
    """The account as others than its maker see it: a fresh one is unknown for some calls."""
    account = store.accounts.get(email)
    if account is None:
        return None
    if account.unknown_calls > 0:
        account.unknown_calls -= 1
        return None
    settled = account.created + timedelta(seconds=store.knobs.unknown_account_seconds)
    return account if settled <= store.clock.now() else None


def _resolve_principal(store: Store, member: str) -> str:
    if _WORKFORCE.fullmatch(member):
        return member
    found = _POOL.fullmatch(member)
    if found is None or (found[2].endswith(".svc.id.goog") and not _SUBJECT.fullmatch(found[3])):
        raise ApiError(400, "invalid", f"Invalid value for principal: {member}")
    if not has_pool(store, member):
        raise _no_pool(found[2])
    return member


def _resolve_deleted(member: str, rest: str, kept: frozenset[str]) -> str:
    """The page of identifiers says not to add deleted members; what is answered, it does not say."""
    if member not in kept:
        raise ApiError(400, "invalid", f"Deleted members can't be added to a policy: {member}")
    kind, _, name = rest.partition(":")
    email, is_account, uid = name.partition("?uid=")
    return f"serviceAccount:{email}#{uid}" if kind == "serviceAccount" and is_account else member


def _no_pool(pool: str) -> ApiError:
    text = f"Identity Pool does not exist ({pool}). Please check that you specified a valid resource name."
    return ApiError(400, "invalid", text)
