"""Who may use the claim's bucket: bindings in its policy, for a service account or a federated identity.

Used by `provisioner`; what the bindings are is in `policy`, the calls are in `bucket_policy`. Knows nothing of keys.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gcs_provisioner.bucket_policy import PolicyRefused, UnknownMember
from gcs_provisioner.buckets import check_gone, has_new_owner, is_bucket_name
from gcs_provisioner.errors import NO_REASON, PermissionDenied
from gcs_provisioner.keys import EMAIL_KEY
from gcs_provisioner.parameters import KUBERNETES_KEY, Kind, parse_kubernetes_account
from gcs_provisioner.policy import (
    MOST_CONDITIONS,
    count_conditions,
    describe_excess,
    federated_member,
    grant,
    grant_titled,
    is_same,
    withdraw,
    withdraw_titled,
    workload_member,
)
from libbucket import BucketNotFound, NotReady, QuotaExceeded, RetrySlowly, StoreRefused

MEMBER_STATE: Final = "Principal"
"""The claim's federated identity, as the policy of its bucket names it."""

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.cloud.storage import Bucket

    from gcs_provisioner.policy import Binding
    from gcs_provisioner.request import Request
    from libbucket import BucketOptions

    Edit = Callable[[Iterable[Mapping[str, Any]]], list[Binding]]


def open_bucket(request: Request, member: str) -> bool:
    """Lets the claim's member into the bucket; gives whether that changed the policy.

    Args:
        request: of this verb.
        member: the claim's own service account, or a member that needs the claim's `title` beside it.

    Raises:
        NotReady: Google does not know a fresh service account yet, or the bucket is gone.
        StoreRefused: the policy can't be written.
        QuotaExceeded: as many claims as IAM allows share the member on this bucket.
    """
    edit, changes = _noted(_with_room(request, member, build_grant(request, member)))
    try:
        request.policies.edit(request.bucket, edit)
    except BucketNotFound as missing:
        raise NotReady(f"bucket {request.bucket} was deleted concurrently", request_id=missing.request_id) from missing
    except UnknownMember as unknown:
        if full := describe_excess(unknown.wanted):
            raise QuotaExceeded(
                f"the policy of bucket {request.bucket} has no room for another claim: it would have {full}",
                request_id=unknown.request_id,
            ) from unknown
        if request.parameters.kind is Kind.FEDERATION:
            raise _no_pool(request, unknown) from unknown
        if not request.identity.is_fresh:
            raise unknown.refusal from unknown
        raise request.identity.not_known_yet(unknown) from unknown
    if any(changes):
        request.note("permission on the bucket")
    return any(changes)


def build_grant(request: Request, member: str) -> Edit:
    """The edit that lets `member` in, and out what an earlier class of the claim let in.

    It gets a binding of the claim's own where other claims can have that member, too.
    """
    email = request.identity.email

    def edit(bindings: Iterable[Mapping[str, Any]]) -> list[Binding]:
        if request.parameters.kind is not Kind.FEDERATION and not request.identity.is_shared:
            # Of an earlier class that shared an account: that goes when the new keys work.
            kept = bindings if request.earlier is not None else withdraw_titled(bindings, title=request.title)
            return grant(kept, email)
        kept = bindings if request.identity.is_shared else withdraw(bindings, email)
        return grant_titled(kept, member, title=request.title, bucket=request.bucket)

    return edit


def _with_room(request: Request, member: str, edit: Edit) -> Edit:
    """The same edit, but for a policy that has no room for it."""

    def checked(bindings: Iterable[Mapping[str, Any]]) -> list[Binding]:
        wanted = edit(bindings)
        if count_conditions(wanted, member) > MOST_CONDITIONS:
            raise QuotaExceeded(
                f"{MOST_CONDITIONS} claims use bucket {request.bucket} as {member}, and IAM allows no more conditional "
                "bindings of one member: let this claim name another Kubernetes service account, or use a class "
                "without serviceAccount"
            )
        return wanted

    return checked


def close_bucket(request: Request) -> bool | None:
    """Withdraws all permissions of the claim on the bucket.

    Returns:
        Whether there were any; None where no policy says so: there is no bucket, or its policy counts for nothing.
    """
    if not is_bucket_name(request.bucket, dots=True):
        return None
    edit, changes = _noted(partial(_withdraw_all, request))
    is_titled = (
        request.parameters.kind is Kind.FEDERATION
        or any(each.is_shared for each in request.identities)
        or MEMBER_STATE in request.state
    )
    try:
        request.policies.edit(request.bucket, edit)
    except BucketNotFound as missing:
        check_gone(request, missing)
    except PermissionDenied as refusal:
        # A claim that asked for a bucket of another project never got in, and must be able to go. So must one whose
        # bucket was removed, and whose name is another customer's now: of an account of its own, which is removed next,
        # it is enough that no bucket of the project is meant.
        if not request.was_bound:
            request.storage.check_project()
        elif not has_new_owner(request) and (is_titled or request.storage.is_in_project(request.bucket)):
            raise
        request.overlooked.append(refusal.request_id)
        return None
    except UnknownMember as unknown:
        if is_titled:
            raise unknown.refusal from unknown
        request.overlooked.append(unknown.request_id)
        return None
    except PolicyRefused as refusal:
        # To write a policy is to write the bindings of all, and may be refused for one of others. An account of the
        # claim's own is removed next, which ends its access as well.
        if is_titled:
            raise
        request.overlooked.append(refusal.request_id)
        return None
    return changes[-1] if changes else None


def close_to_earlier(request: Request) -> None:
    """Withdraws the permission of the account that an earlier class gave, and of no other."""
    earlier = request.earlier
    if earlier is None:
        return

    def edit(bindings: Iterable[Mapping[str, Any]]) -> list[Binding]:
        if not earlier.is_shared:
            return withdraw(bindings, earlier.email)
        is_titled = request.parameters.kind is Kind.FEDERATION or request.identity.is_shared
        return list(bindings) if is_titled else withdraw_titled(bindings, title=request.title)  # type: ignore[arg-type]

    request.policies.edit(request.bucket, edit)


def check_uniform(request: Request, found: Bucket) -> None:
    """Refuses a bucket that takes no conditions, by which claims that have a member in common are told apart.

    Raises:
        RetrySlowly: it has no uniform bucket-level access.
    """
    if found.iam_configuration.uniform_bucket_level_access_enabled:
        return
    needs = "parameter serviceAccount" if request.identity.is_shared else f"credentials: {Kind.FEDERATION.value}"
    raise RetrySlowly(
        f"bucket {request.bucket} has no uniform bucket-level access, which {needs} needs: without it Google takes no "
        "conditions, by which claims are told apart, and lets no federated identity in"
    )


def find_member(request: Request, options: BucketOptions, number: str) -> str:
    """The claim's federated identity: a Kubernetes service account of its own namespace.

    Args:
        request: of this verb.
        options: the claim.
        number: of the project that the identity pool belongs to, where the class does not say.
    """
    account = parse_kubernetes_account(options.claim.additional_config) or "default"
    number = request.parameters.workload_project_number or number
    return federated_member(number, _pool(request), options.claim.namespace, account)


def find_impersonators(request: Request, options: BucketOptions) -> list[str] | None:
    """Which Kubernetes service accounts may act as the claim's account; None leaves that as it is.

    The namespace is always the claim's own: a claim can't let another namespace in.
    """
    asked = parse_kubernetes_account(options.claim.additional_config)
    if asked is None and request.parameters.kind is Kind.WORKLOAD_IDENTITY:
        asked = "default"
    if asked is None:
        had_one = KUBERNETES_KEY in options.previous_config or _held_no_key(options)
        return [] if had_one else None
    return [workload_member(_pool(request), options.claim.namespace, asked)]


def _held_no_key(options: BucketOptions) -> bool:
    """Whether an earlier class gave the claim no key, but had a Kubernetes service account act as its account."""
    held = options.credentials
    return held is not None and EMAIL_KEY in held.additional_secret_data


def _withdraw_all(request: Request, bindings: Iterable[Mapping[str, Any]]) -> list[Binding]:
    """Without the claim's titled binding, and without its own account, whatever its class says now."""
    kept = withdraw_titled(bindings, title=request.title)
    for each in request.identities:
        kept = kept if each.is_shared else withdraw(kept, each.email)
    return kept


def _noted(edit: Edit) -> tuple[Edit, list[bool]]:
    """The same edit, and a list of whether each call of it changed anything."""
    changes: list[bool] = []

    def noted(bindings: Iterable[Mapping[str, Any]]) -> list[Binding]:
        wanted = edit(bindings)
        changes.append(not is_same(wanted, bindings))
        return wanted

    return noted, changes


def _pool(request: Request) -> str:
    """The pool that the class names, or that of the project of the bucket, whose number goes with it."""
    return request.parameters.workload_pool or f"{request.storage.project}.svc.id.goog"


def _no_pool(request: Request, unknown: UnknownMember) -> StoreRefused:
    return StoreRefused(
        f"Google does not take the Kubernetes service account as a member of the policy of bucket {request.bucket} "
        f"(400 {unknown.said or NO_REASON}): "
        f"Workload Identity Federation for GKE is not enabled, or parameters workloadIdentityPool ({_pool(request)}) "
        "and workloadIdentityProjectNumber do not name the pool of the cluster, or another member of that policy does "
        "not exist any more",
        request_id=unknown.request_id,
    )
