"""A claim's access to its bucket: its user, the policy that limits the user, and an access key that works.

Used by `provisioner`, once the bucket is there. A call that has to wait for its new key leaves a note in `pending`; the
next one for an equal request then tries the key, and does nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aws_s3_provisioner.credentials import Held, ensure_keys, tried_keys
from aws_s3_provisioner.pending import Made
from aws_s3_provisioner.policy import Scope, build_access
from libbucket import AccessDenied, StoreRefused

if TYPE_CHECKING:
    from aws_s3_provisioner.identity import Ensured
    from aws_s3_provisioner.policy import Document
    from aws_s3_provisioner.request import Request
    from aws_s3_provisioner.users import User
    from libbucket import AccessKeys, BucketOptions

_MOST_NAMED: Final = 10


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a claim gets.

    Attributes:
        keys: that work.
        user_arn: ARN of the user.
        warnings: for the author of the claim.
    """

    keys: AccessKeys
    user_arn: str
    warnings: tuple[str, ...] = ()


def resumed_access(request: Request, options: BucketOptions) -> Access | None:
    """What an earlier call for an equal request was waiting for; None where no call did, or too long ago.

    Raises:
        NotReady: its key does not work yet.
    """
    keys = request.pending.find(request.user_key)
    made = request.pending.find_made(request.user_key, _everything_asked_for(options))
    if keys is None or made is None or not request.parameters.create_user:
        return None
    tried_keys(request, keys, is_only_key=made.is_only_key)
    return Access(keys=keys, user_arn=made.arn, warnings=made.warnings)


def ensure_access(request: Request, options: BucketOptions) -> Access:
    """The claim's user, limited to its bucket, and credentials that work: those that the claim holds, or new ones.

    Raises:
        NotReady: the credentials do not work yet.
    """
    found = request.identity.ensure()
    if found.is_new:
        request.pending.forget(request.user_key)
        request.note("user")
    elif found.is_bound_anew:
        request.note("permissions boundary of the user")
    is_policy_new = _ensure_policy(request, found)
    warnings = _warnings(request, found)
    held = options.credentials.access_keys if options.credentials else None
    keys = ensure_keys(
        request,
        Held(
            keys=held,
            is_unchanged=options.credentials_unchanged and not found.is_new,
            is_policy_new=is_policy_new,
        ),
        Made(
            request=_everything_asked_for(options),
            arn=found.user.arn,
            is_only_key=found.is_new,
            warnings=warnings,
        ),
    )
    return Access(keys=keys, user_arn=found.user.arn, warnings=warnings)


def _ensure_policy(request: Request, found: Ensured) -> bool:
    """Whether the policy of the user was another one, and was written."""
    document = _document(request, found.user)
    if not found.is_new and request.identity.is_limited(document):
        return False
    if request.was_bound and not found.is_new:
        request.note("policy of the user")
    request.identity.limit(document)
    return True


def _document(request: Request, user: User) -> Document:
    parameters, is_aws = request.parameters, request.parameters.is_aws
    scope = Scope(
        bucket_arn=request.clients.bucket_arn(request.bucket),
        account=user.account if is_aws and request.is_greenfield else "",
        allows_sessions=parameters.allow_sessions or not is_aws,
        key_arn=_key_arn(request, user),
        key_via=request.clients.s3_service if is_aws else "",
        has_archives=is_aws,
    )
    return build_access(scope, template=parameters.iam_policy)


def _key_arn(request: Request, user: User) -> str:
    key = request.parameters.kms_key_id
    if not key or key.startswith("arn:"):
        return key
    return f"arn:{request.clients.partition}:kms:{request.parameters.region}:{user.account}:key/{key}"


def _warnings(request: Request, found: Ensured) -> tuple[str, ...]:
    """Policies that others gave the user: they stay, because an administrator may have meant to shut it out."""
    if found.is_new or not request.was_bound:
        return ()
    try:
        further = request.identity.further_policies()[:_MOST_NAMED]
    except (AccessDenied, StoreRefused):  # only a warning depends on it
        return ()
    if not further:
        return ()
    names = ", ".join(further)
    return (f"IAM user {request.identity.name} has policies that others gave it, and that stay as they are: {names}",)


def _everything_asked_for(options: BucketOptions) -> object:
    given = (options.parameters, options.claim.additional_config, options.previous_config, options.additional_state)
    return options.bucket_name, options.owner, options.credentials, *(tuple(sorted(each.items())) for each in given)
