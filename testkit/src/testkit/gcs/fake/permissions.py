"""Who may do what: roles, allow policies with conditions, and the check that every API goes through.

Written from
https://cloud.google.com/storage/docs/access-control/iam-roles (what a role contains)
https://cloud.google.com/storage/docs/access-control/iam-permissions
https://cloud.google.com/iam/docs/reference/rest/v1/Policy (versions, etags, deleted members)
https://cloud.google.com/storage/docs/access-control/iam#conditions (conditions need uniform bucket-level access)
https://cloud.google.com/storage/docs/public-access-prevention
https://cloud.google.com/storage/docs/json_api/v1/buckets/setIamPolicy (412 where the etag is another one)
https://cloud.google.com/iam/docs/access-change-propagation (a grant or a withdrawal takes minutes to count)
https://cloud.google.com/resource-manager/docs/organization-policy/restricting-domains and
https://github.com/googleapis/java-storage/pull/2444 (412 for members of other customers)
https://cloud.google.com/storage/docs/managed-folders (object roles may make managed folders)
https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity and
https://cloud.google.com/iam/docs/principal-identifiers (`principal://` members)
https://github.com/grafana/tempo/issues/3556 and
https://github.com/GoogleCloudPlatform/gcs-fuse-csi-driver/blob/main/docs/authentication.md (federated identities are
let into buckets with uniform bucket-level access only)
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from testkit.gcs.fake.model import Account, Bucket, Json, Policy, Store
from testkit.gcs.fake.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator


def _all(prefix: str, verbs: str) -> frozenset[str]:
    return frozenset(f"{prefix}.{each}" for each in verbs.split())


_EVERY_VERB = "create delete get getIamPolicy list setIamPolicy update"
_OBJECT_ADMIN = (
    _all(
        "storage.objects",
        "create delete get getIamPolicy list move overrideUnlockedRetention restore setIamPolicy setRetention update",
    )
    | _all("storage.multipartUploads", "abort create list listParts")
    | _all("storage.managedFolders", "create delete get list")
)
# https://cloud.google.com/storage/docs/access-control/iam-roles: no ACLs, no retention.
_OBJECT_USER = _OBJECT_ADMIN - _all(
    "storage.objects", "getIamPolicy overrideUnlockedRetention setIamPolicy setRetention"
)
_LEGACY_READER = frozenset({"storage.buckets.get", "storage.objects.list", "storage.multipartUploads.list"})
ROLES: Final = {
    "roles/storage.objectAdmin": _OBJECT_ADMIN,
    "roles/storage.objectUser": _OBJECT_USER,
    "roles/storage.objectViewer": _all("storage.objects", "get list"),
    "roles/storage.legacyBucketReader": _LEGACY_READER,
    "roles/storage.legacyBucketOwner": _LEGACY_READER
    | _all("storage.buckets", "getIamPolicy setIamPolicy update")
    | _all("storage.objects", "create delete"),
    "roles/storage.legacyObjectOwner": _all("storage.objects", "get getIamPolicy setIamPolicy update"),
    "roles/storage.legacyObjectReader": _all("storage.objects", "get"),
    "roles/storage.admin": _OBJECT_ADMIN | _all("storage.buckets", _EVERY_VERB),
    "roles/storage.hmacKeyAdmin": _all("storage.hmacKeys", "create delete get list update"),
    "roles/iam.serviceAccountAdmin": _all("iam.serviceAccounts", f"{_EVERY_VERB} disable enable"),
    "roles/iam.serviceAccountKeyAdmin": _all("iam.serviceAccountKeys", "create delete get list"),
    "roles/iam.workloadIdentityUser": frozenset({"iam.serviceAccounts.getAccessToken"}),
    "roles/iam.serviceAccountTokenCreator": frozenset({"iam.serviceAccounts.getAccessToken"}),
}
_PUBLIC = frozenset({"allUsers", "allAuthenticatedUsers"})
PROJECT_NUMBER: Final = "123456789"
MOST_CONDITIONS: Final = 20
MOST_PRINCIPALS: Final = 1500
MOST_LEGACY_PRINCIPALS: Final = 100
_PRINCIPAL = re.compile(
    r"principal://iam\.googleapis\.com/projects/(\d+)/locations/global/workloadIdentityPools/([a-z0-9.:-]+)"
    r"/subject/ns/[a-z0-9-]+/sa/[a-z0-9.-]+"
)
_CONDITION = re.compile(r'resource\.name\.startsWith\("([^"]*)"\)')


@dataclass(frozen=True)
class Principal:
    """Who asks: a service account, a federated identity by its `principal://` name, or nobody."""

    email: str = ""
    uid: str = ""
    federated: str = ""

    @property
    def is_anonymous(self) -> bool:
        return not self.email and not self.federated

    @property
    def stored(self) -> str:
        return self.federated or f"serviceAccount:{self.email}#{self.uid}"


ANONYMOUS: Final = Principal()


def is_allowed(store: Store, who: Principal, permission: str, bucket: Bucket | None = None, name: str = "") -> bool:
    """Whether `who` has `permission` in the project, or on the bucket."""
    account = store.account_of(who.email, who.uid)
    if account is not None and account.disabled:
        account = None
    of_project = account.permissions if account is not None else store.federated.get(who.federated, frozenset())
    if permission in of_project and (bucket is None or bucket.project == store.project):
        return True
    if bucket is None:
        return False
    resource = f"projects/_/buckets/{bucket.name}" + (f"/objects/{name}" if name else "")
    if who.federated and not bucket.is_uniform:
        return False
    is_known = account is not None or bool(who.federated)
    members = {who.stored, "allAuthenticatedUsers", "allUsers"} if is_known else {"allUsers"}
    now, policy = store.clock.now(), bucket.policy
    settled = now - timedelta(seconds=store.knobs.grant_seconds)
    for each in _granting(policy.bindings, permission, resource):
        if any(policy.granted.get((each["role"], one), settled) <= settled for one in members & set(each["members"])):
            return True
    lasting = now - timedelta(seconds=store.knobs.withdraw_seconds)
    withdrawn = [each for each, since in policy.withdrawn if since > lasting]
    return any(members & set(each["members"]) for each in _granting(withdrawn, permission, resource))


def require(store: Store, who: Principal, permission: str, bucket: Bucket | None = None, name: str = "") -> None:
    """Raises 401 for anonymous callers, 403 for others, where `is_allowed` says no."""
    if is_allowed(store, who, permission, bucket, name):
        return
    if who.is_anonymous:
        text = f"Anonymous caller does not have {permission} access"
        raise ApiError(401, "required", text, code="AccessDenied")
    where = f"bucket {bucket.name}" if bucket else "the project"
    text = f"{who.email or who.federated} does not have {permission} access to {where} (or it may not exist)."
    raise ApiError(403, "forbidden", text)


def require_bucket(store: Store, who: Principal, permission: str, bucket_name: str, name: str = "") -> Bucket:
    """The bucket; one that does not exist is 404 only for who may ask for any bucket of the project."""
    bucket = store.buckets.get(bucket_name)
    if bucket is None:
        require(store, who, permission)
        raise ApiError(404, "notFound", "The specified bucket does not exist.", code="NoSuchBucket")
    require(store, who, permission, bucket, name)
    return bucket


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
    new = [{**each, "members": [_resolve(store, m) for m in each["members"]]} for each in bindings]
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
        shown = {**binding, "members": [_show(store, member) for member in binding["members"]]}
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


def _granting(bindings: list[Json], permission: str, resource: str) -> Iterator[Json]:
    for binding in bindings:
        if permission in ROLES.get(binding["role"], ()) and _is_met(binding.get("condition"), resource):
            yield binding


def _is_met(condition: Json | None, resource: str) -> bool:
    if condition is None:
        return True
    found = _CONDITION.fullmatch(condition["expression"])
    return found is not None and resource.startswith(found[1])


def _check_conditions(bindings: list[Json]) -> None:
    """At most 20 conditional bindings of one role and member: https://cloud.google.com/iam/quotas.

    The page speaks of different expressions. Whether other titles are enough to count is not known: here they are.
    """
    pairs = Counter((each["role"], m) for each in bindings if "condition" in each for m in each["members"])
    if any(count > MOST_CONDITIONS for count in pairs.values()):
        text = "The policy has too many conditional role bindings with the same role and member."
        raise ApiError(400, "invalid", text)


def _check_size(bindings: list[Json], *, is_bucket: bool) -> None:
    """At most 1,500 principals, counted once for each role: https://cloud.google.com/iam/quotas.

    In the legacy roles of a bucket 100: https://cloud.google.com/storage/quotas#buckets. The page does not say whether
    a principal with two of them counts twice: here it does. The text is of
    https://github.com/kubeflow/pipelines/issues/1146.
    """
    found = sum(len(each["members"]) for each in bindings)
    legacy = sum(len(each["members"]) for each in bindings if "/storage.legacy" in each["role"]) if is_bucket else 0
    for count, most in ((found, MOST_PRINCIPALS), (legacy, MOST_LEGACY_PRINCIPALS)):
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


def _resolve(store: Store, member: str) -> str:
    kind, _, rest = member.partition(":")
    if kind == "principal":
        return _resolve_principal(store, member)
    if kind == "deleted":
        email, _, uid = rest.partition(":")[2].partition("?uid=")
        return f"serviceAccount:{email}#{uid}"
    if kind != "serviceAccount":
        return member
    if "[" in rest:
        if not store.knobs.workload_pool:
            raise ApiError(400, "invalid", f"Identity Pool does not exist ({rest.partition('[')[0]}).")
        return member
    account = find_known(store, rest)
    if account is None:
        raise ApiError(400, "invalid", f"Service account {rest} does not exist.")
    return f"serviceAccount:{rest}#{account.uid}"


def _resolve_principal(store: Store, member: str) -> str:
    """A federated identity of the project's own pool of GKE, which is the only one that the fake has."""
    found = _PRINCIPAL.fullmatch(member)
    if found is None:
        raise ApiError(400, "invalid", f"Invalid value for principal: {member}")
    number, pool = found.groups()
    if not store.knobs.workload_pool or (number, pool) != (PROJECT_NUMBER, f"{store.project}.svc.id.goog"):
        raise ApiError(
            400,
            "invalid",
            f"Identity Pool does not exist ({pool}). Please check that you specified a valid resource name.",
        )
    return member


def _show(store: Store, member: str) -> str:
    name, is_account, uid = member.partition("#")
    if not is_account:
        return member
    email = name.partition(":")[2]
    return name if store.account_of(email, uid) else f"deleted:serviceAccount:{email}?uid={uid}"
