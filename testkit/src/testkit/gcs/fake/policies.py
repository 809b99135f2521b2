"""Allow policies: written as setIamPolicy does, within Google's limits, and shown as getIamPolicy does.

Who may do what by them is in `permissions`. Written from
https://cloud.google.com/iam/docs/reference/rest/v1/Policy (versions, etags)
https://cloud.google.com/iam/quotas#limits and https://cloud.google.com/iam/docs/conditions-overview (limits)
https://cloud.google.com/storage/docs/access-control/iam#conditions (conditions need uniform bucket-level access)
https://cloud.google.com/storage/docs/public-access-prevention
https://cloud.google.com/storage/docs/json_api/v1/buckets/setIamPolicy (412 where the etag is another one)
https://cloud.google.com/resource-manager/docs/organization-policy/restricting-domains and
https://github.com/googleapis/java-storage/pull/2444 (412 for members of other customers)
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from testkit.gcs.fake.members import resolve, show
from testkit.gcs.fake.model import Bucket, Json, Policy, Store
from testkit.gcs.fake.permissions import ROLES
from testkit.gcs.fake.wire import ApiError

MOST_CONDITIONS: Final = 20
MOST_CONDITIONAL: Final = 100
MOST_OPERATORS: Final = 12
MOST_PRINCIPALS: Final = 1500
MOST_LEGACY_PRINCIPALS: Final = 100
MOST_GROUPS: Final = 250
_PUBLIC: Final = frozenset({"allUsers", "allAuthenticatedUsers"})
_OPERATOR: Final = re.compile(r"&&|\|\||!(?!=)")


def write_policy(store: Store, old: Policy, body: Json, *, conflict: ApiError, bucket: Bucket | None = None) -> None:
    """Replaces a policy as setIamPolicy does.

    Raises:
        ApiError: `conflict` where the etag is another one; 400 for what makes no policy; 412 for what the bucket
            forbids.
    """
    store.policy_writes += 1
    if store.knobs.conflicting_policy_writes and store.policy_writes % 2 == 1:
        old.generation += 1
    if body.get("etag") and body["etag"] != old.etag:
        raise conflict
    bindings = [each for each in body.get("bindings", []) if each.get("members")]
    if not bindings and bucket is not None:
        raise ApiError(400, "required", "A policy to update must be provided.")
    has_conditions = any("condition" in each for each in [*bindings, *old.bindings])
    if has_conditions and body.get("version") != 3:
        raise ApiError(400, "invalid", "Policies with conditions must be read and written with version 3.")
    _check_conditions(bindings)
    _check_size(bindings, is_bucket=bucket is not None)
    if bucket is not None:
        _check_for_bucket(bucket, bindings)
    if any(m.startswith(store.knobs.foreign_members) for each in bindings for m in each["members"]):
        text = "One or more users named in the policy do not belong to a permitted customer."
        raise ApiError(412, "conditionNotMet", text)
    kept = frozenset(show(store, m) for each in old.bindings for m in each["members"])
    new = [{**each, "members": [resolve(store, m, kept) for m in each["members"]]} for each in bindings]
    _note_changes(store, old, new)
    # What comes back need not be what was sent, member for member: the order of a condition's fields is not kept.
    old.bindings = [_reordered(each) for each in new]
    old.generation += 1


def _note_changes(store: Store, policy: Policy, new: list[Json]) -> None:
    now = store.clock.now()
    before, after = ({(b["role"], m) for b in each for m in b["members"]} for each in (policy.bindings, new))
    policy.granted = {pair: since for pair, since in policy.granted.items() if pair in after}
    policy.granted |= dict.fromkeys(after - before, now)
    policy.withdrawn += [
        ({**each, "members": [m for m in each["members"] if (each["role"], m) not in after]}, now)
        for each in policy.bindings
    ]


def _reordered(binding: Json) -> Json:
    condition = binding.get("condition")
    return {**binding, "condition": dict(reversed(condition.items()))} if condition else binding


def show_policy(store: Store, policy: Policy, *, version: int) -> Json:
    """A policy as getIamPolicy shows it: a request for less than version 3 sees no condition."""
    bindings = []
    for binding in policy.bindings:
        shown = {**binding, "members": [show(store, member) for member in binding["members"]]}
        if "condition" in shown and version < 3:
            shown["role"] += "_withcond_0123456789abcdef0123"
            del shown["condition"]
        bindings.append(shown)
    has_conditions = any("condition" in each for each in bindings)
    return {"kind": "storage#policy", "version": 3 if has_conditions else 1, "etag": policy.etag, "bindings": bindings}


def default_policy(project: str) -> Policy:
    """What a new bucket has: https://cloud.google.com/storage/docs/access-control/iam#convenience-values."""
    owners = [f"projectEditor:{project}", f"projectOwner:{project}"]
    return Policy(
        [
            {"role": "roles/storage.legacyBucketOwner", "members": owners},
            {"role": "roles/storage.legacyBucketReader", "members": [f"projectViewer:{project}"]},
            {"role": "roles/storage.legacyObjectOwner", "members": owners},
            {"role": "roles/storage.legacyObjectReader", "members": [f"projectViewer:{project}"]},
        ]
    )


def _check_conditions(bindings: list[Json]) -> None:
    """At most 20 conditional bindings of one role and member, and 12 operators: https://cloud.google.com/iam/quotas.

    The page speaks of different expressions. Whether other titles are enough to count is not known: here they are.
    At most 100 conditional bindings of all: more may exceed the size of a policy, says
    https://cloud.google.com/iam/docs/conditions-overview, and not how large one may be: here none may have more.
    """
    found = [each for each in bindings if "condition" in each]
    pairs = Counter((each["role"], m) for each in found for m in each["members"])
    if any(count > MOST_CONDITIONS for count in pairs.values()):
        text = "The policy has too many conditional role bindings with the same role and member."
        raise ApiError(400, "invalid", text)
    if len(found) > MOST_CONDITIONAL:
        raise ApiError(400, "invalid", f"The policy is too large: {len(found)} conditional role bindings.")
    if any(len(_OPERATOR.findall(each["condition"]["expression"])) > MOST_OPERATORS for each in found):
        raise ApiError(400, "invalid", f"A condition has more than {MOST_OPERATORS} logic operators.")
    if any(_PUBLIC & set(each["members"]) for each in found):
        raise ApiError(400, "invalid", "Conditions can't be set on bindings for allUsers and allAuthenticatedUsers.")


def _check_size(bindings: list[Json], *, is_bucket: bool) -> None:
    """At most 1,500 principals, counted once for each role: https://cloud.google.com/iam/quotas.

    Of them at most 250 groups, each counted once, and domains, counted wherever they are: the same page.
    In the legacy roles of a bucket 100: https://cloud.google.com/storage/quotas#buckets. The page does not say whether
    a principal with two of them counts twice: here it does. The text is of
    https://github.com/kubeflow/pipelines/issues/1146.
    """
    found = sum(len(each["members"]) for each in bindings)
    domains = [m for each in bindings for m in each["members"] if m.startswith("domain:")]
    groups = {m for each in bindings for m in each["members"] if m.startswith("group:")}
    legacy = sum(len(each["members"]) for each in bindings if "/storage.legacy" in each["role"]) if is_bucket else 0
    limits = ((found, MOST_PRINCIPALS), (legacy, MOST_LEGACY_PRINCIPALS), (len(domains) + len(groups), MOST_GROUPS))
    for count, most in limits:
        if count > most:
            text = f"The number of members in the policy ({count:,}) is larger than the maximum allowed size {most:,}."
            raise ApiError(400, "badRequest", text)


def _check_for_bucket(bucket: Bucket, bindings: list[Json]) -> None:
    if any("condition" in each for each in bindings) and not bucket.is_uniform:
        text = "To set IAM conditions, enable uniform bucket-level access on the bucket."
        raise ApiError(412, "conditionNotMet", text)
    if bucket.prevents_public_access and any(_PUBLIC & set(each["members"]) for each in bindings):
        text = "The member bindings allUsers and allAuthenticatedUsers are not allowed: public access prevention."
        raise ApiError(412, "conditionNotMet", text)
    for each in bindings:
        if each["role"] not in ROLES:
            raise ApiError(400, "invalid", f"Role {each['role']} is not supported for this resource.")
