"""Who may do what: roles, and the check that every API goes through. How policies are written is in `policies`.

Written from
https://cloud.google.com/storage/docs/access-control/iam-roles (what a role contains)
https://cloud.google.com/storage/docs/access-control/iam-permissions
https://cloud.google.com/iam/docs/access-change-propagation (a grant or a withdrawal takes minutes to count)
https://cloud.google.com/storage/docs/managed-folders (object roles may make managed folders)
https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools/delete (identities of a
deleted pool have no access, and have it again when it is undeleted)
https://github.com/grafana/tempo/issues/3556 and
https://github.com/GoogleCloudPlatform/gcs-fuse-csi-driver/blob/main/docs/authentication.md (federated identities are
let into buckets with uniform bucket-level access only)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from testkit.gcs.fake.members import has_pool
from testkit.gcs.fake.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.gcs.fake.model import Bucket, Json, Store


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
    if who.federated and not (bucket.is_uniform and has_pool(store, who.federated)):
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
    _check_perimeter(store, who)
    if is_allowed(store, who, permission, bucket, name):
        return
    if who.is_anonymous:
        text = f"Anonymous caller does not have {permission} access"
        raise ApiError(401, "required", text, code="AccessDenied")
    where = f"bucket {bucket.name}" if bucket else "the project"
    text = f"{who.email or who.federated} does not have {permission} access to {where} (or it may not exist)."
    raise ApiError(403, "forbidden", text)


def _check_perimeter(store: Store, who: Principal) -> None:
    """https://github.com/kubeflow/kubeflow/issues/3105: so the XML API answers, with the id that all APIs tell."""
    account = store.account_of(who.email, who.uid)
    if store.knobs.perimeter and (account is None or not account.permissions):
        text = "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: zvW4mQKV6irg5Nm"
        raise ApiError(403, "forbidden", text, code="SecurityPolicyViolated", info="SECURITY_POLICY_VIOLATED")


def require_bucket(store: Store, who: Principal, permission: str, bucket_name: str, name: str = "") -> Bucket:
    """The bucket; one that does not exist is 404 only for who may ask for any bucket of the project."""
    bucket = store.buckets.get(bucket_name)
    if bucket is None:
        require(store, who, permission)
        raise ApiError(404, "notFound", "The specified bucket does not exist.", code="NoSuchBucket")
    require(store, who, permission, bucket, name)
    return bucket


def _granting(bindings: list[Json], permission: str, resource: str) -> Iterator[Json]:
    for binding in bindings:
        if permission in ROLES.get(binding["role"], ()) and _is_met(binding.get("condition"), resource):
            yield binding


def _is_met(condition: Json | None, resource: str) -> bool:
    if condition is None:
        return True
    found = _CONDITION.fullmatch(condition["expression"])
    return found is not None and resource.startswith(found[1])
