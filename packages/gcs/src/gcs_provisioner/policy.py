"""Allow policies: what a claim's account may do, and edits that leave everybody else's bindings as they are.

Pure functions on the bindings of a policy, used by `storage` and `identity`. Knows no client; everything that a claim
may do stands on this page.

The roles of a claim on its bucket, both predefined (https://cloud.google.com/storage/docs/access-control/iam-roles):

* `roles/storage.objectAdmin`: list, read, write and delete objects and their older generations, upload in parts.
* `roles/storage.legacyBucketReader`: storage.buckets.get, which many clients call before anything else, and listing,
  which the claim has already. It is the smallest role with that permission that is generally available, and it can be
  granted on a bucket only, never on a project by mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Binding = dict[str, Any]
Edit = "Callable[[Iterable[Mapping[str, Any]]], list[Binding]]"

OBJECTS_ROLE: Final = "roles/storage.objectAdmin"
METADATA_ROLE: Final = "roles/storage.legacyBucketReader"
WORKLOAD_ROLE: Final = "roles/iam.workloadIdentityUser"


def grant(bindings: Iterable[Mapping[str, Any]], email: str) -> list[Binding]:
    """Lets a claim's own account into the bucket."""
    found = withdraw_deleted(bindings, email)
    for role in (OBJECTS_ROLE, METADATA_ROLE):
        found = _with_member(found, role, _account(email))
    return found


def withdraw(bindings: Iterable[Mapping[str, Any]], email: str) -> list[Binding]:
    """Takes a claim's own account out of every binding, no matter who put it there."""
    return _without(withdraw_deleted(bindings, email), lambda member, _: member == _account(email))


def grant_shared(bindings: Iterable[Mapping[str, Any]], email: str, *, title: str, bucket: str) -> list[Binding]:
    """Lets the account that all claims of a class share into the bucket, for one claim.

    The condition is true for everything in the bucket. Its title is what tells the binding of one claim from that of
    another for the same account on the same bucket: without it the first that leaves would take the other's away.
    """
    prefix = f"projects/_/buckets/{bucket}"
    condition = {"title": title, "expression": f'resource.name.startsWith("{prefix}")'}
    found = [each for each in withdraw_deleted(bindings, email) if not _is_titled(each, title)]
    found.append({"role": OBJECTS_ROLE, "members": [_account(email)], "condition": condition})
    # Legacy roles can't be relied upon to take a condition; this one stays until the last claim leaves.
    return _with_member(found, METADATA_ROLE, _account(email))


def withdraw_shared(bindings: Iterable[Mapping[str, Any]], email: str, *, title: str) -> list[Binding]:
    """Takes one claim's binding away, and what its account has left when no other claim is there."""
    found = [each for each in _copy(bindings) if not _is_titled(each, title)]
    if any(each["role"] == OBJECTS_ROLE and _account(email) in each["members"] for each in found):
        return found
    return _without(found, lambda member, role: role == METADATA_ROLE and member == _account(email))


def impersonate(bindings: Iterable[Mapping[str, Any]], members: Iterable[str], *, title: str = "") -> list[Binding]:
    """Lets exactly these Kubernetes service accounts act as the account; `title` as in `grant_shared`.

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


def workload_member(pool: str, namespace: str, name: str) -> str:
    """A Kubernetes service account as IAM spells it."""
    return f"serviceAccount:{pool}[{namespace}/{name}]"


def withdraw_deleted(bindings: Iterable[Mapping[str, Any]], email: str) -> list[Binding]:
    """Takes out what is left of an account of this name that was removed: it is another one than that of today."""
    left = f"deleted:{_account(email)}?uid="
    return _without(_copy(bindings), lambda member, _: member.startswith(left))


def is_same(first: Iterable[Mapping[str, Any]], second: Iterable[Mapping[str, Any]]) -> bool:
    """Whether two lists of bindings mean the same."""
    return _meaning(first) == _meaning(second)


def _account(email: str) -> str:
    return f"serviceAccount:{email}"


def _copy(bindings: Iterable[Mapping[str, Any]]) -> list[Binding]:
    return [{**each, "members": sorted(each["members"])} for each in bindings]


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
    return bool(binding["role"] == OBJECTS_ROLE and _title(binding) == title)


def _meaning(bindings: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, str]]:
    return {(each["role"], _condition(each), member) for each in bindings for member in each["members"]}


def _condition(binding: Mapping[str, Any]) -> str:
    """What a condition says: the order of its fields is not kept by Google."""
    found = binding.get("condition") or {}
    return repr(sorted((key, value) for key, value in found.items() if value))
