"""Allow policies: what a claim's account may do, and edits that leave everybody else's bindings as they are.

Pure functions on the bindings of a policy, used by `access`, `bucket_policy` and `identity`. Knows no client;
everything that a claim may do stands on this page.

The roles of a claim on its bucket, both predefined (https://cloud.google.com/storage/docs/access-control/iam-roles):

* `roles/storage.objectUser`: list, read, write and delete objects and their older generations, upload in parts. Unlike
  `roles/storage.objectAdmin`, which earlier releases granted, it neither sets ACLs nor locks or unlocks retention.
* `roles/storage.legacyBucketReader`: storage.buckets.get, which many clients call before anything else, and listing,
  which the claim has already. It is the smallest role with that permission that is generally available, and it can be
  granted on a bucket only, never on a project by mistake.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Binding = dict[str, Any]
Edit = "Callable[[Iterable[Mapping[str, Any]]], list[Binding]]"

OBJECTS_ROLE: Final = "roles/storage.objectUser"
EARLIER_ROLE: Final = "roles/storage.objectAdmin"
METADATA_ROLE: Final = "roles/storage.legacyBucketReader"
_LEGACY: Final = "/storage.legacy"
_OBJECT_ROLES: Final = frozenset({OBJECTS_ROLE, EARLIER_ROLE})
WORKLOAD_ROLE: Final = "roles/iam.workloadIdentityUser"

MOST_PRINCIPALS: Final = 1500
MOST_LEGACY_PRINCIPALS: Final = 100
"""Of one bucket's policy, in all roles and in legacy ones: https://cloud.google.com/storage/quotas#buckets. IAM counts
a principal once for each role that names it: https://cloud.google.com/iam/quotas."""

MOST_CONDITIONS: Final = 20
"""Bindings of a policy that have the same role and the same member, and other conditions each.

https://cloud.google.com/iam/quotas has it of conditions with different expressions. Those of claims differ in their
titles only, and are taken to count.
"""

MOST_CONDITIONAL: Final = 100
"""Bindings of a policy that have any condition. With more a policy may be larger than Google takes, whatever that is:
https://cloud.google.com/iam/docs/conditions-overview. So none is refused here before Google has refused it."""


def grant(bindings: Iterable[Mapping[str, Any]], email: str) -> list[Binding]:
    """Lets a claim's own account into the bucket."""
    found = _without(withdraw_deleted(bindings, email), _is_earlier(account_member(email)))
    for role in (OBJECTS_ROLE, METADATA_ROLE):
        found = _with_member(found, role, account_member(email))
    return found


def withdraw(bindings: Iterable[Mapping[str, Any]], email: str) -> list[Binding]:
    """Takes a claim's own account out of every binding, no matter who put it there."""
    return _without(withdraw_deleted(bindings, email), lambda member, _: member == account_member(email))


def grant_titled(bindings: Iterable[Mapping[str, Any]], member: str, *, title: str, bucket: str) -> list[Binding]:
    """Lets a member that several claims can have in common into the bucket, for one claim.

    The condition is true for everything in the bucket. Its title tells the binding of one claim from that of another
    for the same member on the same bucket: without it the first claim that leaves would withdraw the other's access.
    A member of an earlier binding of this claim, whose Kubernetes service account is another one now, loses it.
    """
    prefix = f"projects/_/buckets/{bucket}"
    condition = {"title": title, "expression": f'resource.name.startsWith("{prefix}")'}
    found = withdraw_deleted(withdraw_titled(bindings, title=title, keep=member), member.partition(":")[2])
    found.append({"role": OBJECTS_ROLE, "members": [member], "condition": condition})
    # Legacy roles can't be relied upon to take a condition; this one stays until the last claim leaves.
    return _with_member(found, METADATA_ROLE, member)


def withdraw_titled(bindings: Iterable[Mapping[str, Any]], *, title: str, keep: str = "") -> list[Binding]:
    """Removes one claim's binding, and what its members have left where no other claim has them.

    Args:
        bindings: of the bucket's policy.
        title: of the claim.
        keep: a member that gets a new binding.
    """
    gone = _titled_members(bindings, title) - {keep}
    found = [each for each in _copy(bindings) if not _is_titled(each, title)]
    gone -= {member for each in found if each["role"] in _OBJECT_ROLES for member in each["members"]}
    return _without(found, lambda member, role: role == METADATA_ROLE and member in gone)


def impersonate(bindings: Iterable[Mapping[str, Any]], members: Iterable[str], *, title: str = "") -> list[Binding]:
    """Lets exactly these Kubernetes service accounts act as the account; `title` as in `grant_titled`.

    Args:
        bindings: of the account's own policy.
        members: none takes the binding away.
        title: empty for a claim's own account, where nobody else's bindings of this role are expected.
    """
    kept = [each for each in _copy(bindings) if each["role"] != WORKLOAD_ROLE or _title(each) != title]
    wanted = sorted(members)
    if not wanted:
        return kept
    binding: Binding = {"role": WORKLOAD_ROLE, "members": wanted}
    if title:
        binding["condition"] = {"title": title, "expression": "true"}
    return [*kept, binding]


def count_conditions(bindings: Iterable[Mapping[str, Any]], member: str) -> int:
    """How many bindings of one role and this member have a condition: of the role that has most."""
    roles = Counter(each["role"] for each in bindings if each.get("condition") and member in each["members"])
    return max(roles.values(), default=0)


def describe_excess(bindings: Iterable[Mapping[str, Any]]) -> str:
    """What a policy that Google refuses has too many of; "" where it is within the documented limits."""
    found = list(bindings)
    conditional = sum(bool(each.get("condition")) for each in found)
    if conditional > MOST_CONDITIONAL:
        return f"{conditional:,} bindings with a condition, and Google advises at most {MOST_CONDITIONAL:,}"
    legacy = sum(len(each["members"]) for each in found if _LEGACY in each["role"])
    if legacy > MOST_LEGACY_PRINCIPALS:
        return (
            f"{legacy:,} principals in legacy roles, which each claim needs for {METADATA_ROLE}, and Google allows "
            f"{MOST_LEGACY_PRINCIPALS:,}"
        )
    principals = sum(len(each["members"]) for each in found)
    return f"{principals:,} principals, and Google allows {MOST_PRINCIPALS:,}" if principals > MOST_PRINCIPALS else ""


def workload_member(pool: str, namespace: str, name: str) -> str:
    """A Kubernetes service account as IAM spells it."""
    return f"serviceAccount:{pool}[{namespace}/{name}]"


def account_member(email: str) -> str:
    """A service account as IAM spells it."""
    return f"serviceAccount:{email}"


def federated_member(number: str, pool: str, namespace: str, name: str) -> str:
    """A Kubernetes service account as a principal of its own, without a service account of Google's.

    https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity#kubernetes-resources-iam-policies
    """
    where = f"projects/{number}/locations/global/workloadIdentityPools/{pool}"
    return f"principal://iam.googleapis.com/{where}/subject/ns/{namespace}/sa/{name}"


def withdraw_deleted(bindings: Iterable[Mapping[str, Any]], email: str) -> list[Binding]:
    """Takes out what is left of an account of this name that was removed: it is another one than that of today."""
    left = f"deleted:{account_member(email)}?uid="
    return _without(_copy(bindings), lambda member, _: member.startswith(left))


def is_same(first: Iterable[Mapping[str, Any]], second: Iterable[Mapping[str, Any]]) -> bool:
    """Whether two lists of bindings mean the same."""
    return _meaning(first) == _meaning(second)


def _is_earlier(account: str) -> Callable[[str, str], bool]:
    return lambda member, role: role == EARLIER_ROLE and member == account


def _copy(bindings: Iterable[Mapping[str, Any]]) -> list[Binding]:
    return [{**each, "members": sorted(each.get("members", ()))} for each in bindings]


def _with_member(bindings: list[Binding], role: str, member: str) -> list[Binding]:
    for each in bindings:
        if each["role"] == role and not each.get("condition"):
            if member not in each["members"]:
                each["members"] = [*each["members"], member]
            return bindings
    return [*bindings, {"role": role, "members": [member]}]


def _without(bindings: list[Binding], is_gone: Callable[[str, str], bool]) -> list[Binding]:
    for each in bindings:
        each["members"] = [member for member in each["members"] if not is_gone(member, each["role"])]
    return [each for each in bindings if each["members"]]


def _title(binding: Mapping[str, Any]) -> str:
    return str((binding.get("condition") or {}).get("title", ""))


def _is_titled(binding: Mapping[str, Any], title: str) -> bool:
    return bool(binding["role"] in _OBJECT_ROLES and _title(binding) == title)


def _titled_members(bindings: Iterable[Mapping[str, Any]], title: str) -> set[str]:
    return {member for each in bindings if _is_titled(each, title) for member in each["members"]}


def _meaning(bindings: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, str]]:
    return {(each["role"], _condition(each), member) for each in bindings for member in each.get("members", ())}


def _condition(binding: Mapping[str, Any]) -> str:
    """What a condition says. Google does not keep the order of its fields, and a description means nothing."""
    found = binding.get("condition") or {}
    return repr([found.get("title", ""), found.get("expression", "")]) if found else ""
