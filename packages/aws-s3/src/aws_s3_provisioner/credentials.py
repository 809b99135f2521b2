"""The claim's access key: a held one is kept unless IAM says that it is gone or off, and a new one is waited for.

Used by `access`. Waiting is done by the core: a key that does not work yet ends the call with `NotReady`. A test of a
key asks S3, which may refuse it for reasons that no other key would help against: it has not heard of the key yet, or
a policy denies the user. Only IAM knows whether a key exists. Another key is never removed before the new one works.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aws_s3_provisioner.parameters import TOLERANT_REGION
from aws_s3_provisioner.policy import may_list, may_write
from aws_s3_provisioner.trials import Attempt, Trial
from libbucket import NotReady

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_s3_provisioner.parameters import Parameters
    from aws_s3_provisioner.pending import Made
    from aws_s3_provisioner.request import Request
    from aws_s3_provisioner.request_ids import Answered
    from libbucket import AccessKeys

_ACTIVE: Final = "Active"

_DOUBTS: Final[Mapping[Trial, str]] = {
    Trial.DENIED: (
        "S3 denies user {user} the listing of bucket {bucket}, although its own policy allows it: a bucket policy, "
        "a permissions boundary, or a policy of the organisation or of a VPC endpoint does"
    ),
    Trial.UNKNOWN: "S3 does not accept the access key of user {user}, which IAM lists as active",
    Trial.NO_BUCKET: "S3 does not find bucket {bucket}, which it found before",
}


@dataclass(frozen=True, kw_only=True)
class Held:
    """What the claim's Secret holds, and what is known of it.

    Attributes:
        keys: in it; None for none.
        is_unchanged: whether that is what an earlier call gave; see `BucketOptions.credentials_unchanged`.
        is_policy_new: whether the user's policy was written by this call, and S3 may not know it yet.
    """

    keys: AccessKeys | None
    is_unchanged: bool
    is_policy_new: bool


def ensure_keys(request: Request, held: Held, made: Made) -> AccessKeys:
    """Keys that work: those that the claim holds, those that were made before and did not work yet, or new ones.

    Args:
        request: of the verb.
        held: what the claim's Secret holds.
        made: what is remembered with a new key.

    Raises:
        NotReady: S3 does not accept them yet, or any more; nothing was replaced.
    """
    if held.keys is None:
        return _new_keys(request, made, spared="")
    known = request.identity.keys()
    if not _is_kept(request, held, held.keys, known):
        # A key that IAM has switched off may go first. One that may work goes when another works.
        is_active = known.value.get(held.keys.access_key_id) == _ACTIVE
        return _new_keys(request, made, spared=held.keys.access_key_id if is_active else "")
    request.identity.delete_keys(known.value.keys() - {held.keys.access_key_id})
    request.pending.forget(request.user_key)
    return held.keys


def tried_keys(request: Request, keys: AccessKeys, *, is_only_key: bool) -> AccessKeys:
    """New keys, once they work; all others of the user are removed then.

    Raises:
        NotReady: they do not work yet.
        RetrySlowly: the KMS key of the class can't be used.
    """
    seen = _attempt_new(request, keys)
    if seen.trial not in accepted_trials(request.parameters):
        raise NotReady(
            f"the new access key of user {request.identity.name} does not work yet, and is retried; if this stays "
            "so, a policy other than the user's own may keep it out",
            delay=_next_try(request),
            request_id=seen.request_id,
        )
    _check_encryption(request, keys)
    if not is_only_key:
        request.identity.delete_keys(request.identity.keys().value.keys() - {keys.access_key_id})
    request.pending.forget(request.user_key)
    return keys


def accepted_trials(parameters: Parameters) -> frozenset[Trial]:
    """What a trial by listing has to show: where the class lets nobody list, that S3 knows the key is all."""
    return frozenset({Trial.WORKS} if may_list(parameters.iam_policy) else {Trial.WORKS, Trial.DENIED})


def _is_kept(request: Request, held: Held, keys: AccessKeys, known: Answered[dict[str, str]]) -> bool:
    is_active, is_known = known.value.get(keys.access_key_id) == _ACTIVE, keys.access_key_id in known.value
    if not is_active and (is_known or not held.is_unchanged):
        return False
    seen = request.trials.attempt(keys, request.bucket)
    works = seen.trial in accepted_trials(request.parameters)
    if works and not is_active:
        raise NotReady(
            f"IAM does not list the access key of user {request.identity.name}, and S3 accepts it: it is kept until "
            "they agree",
            delay=5,
            request_id=known.request_id,
        )
    if is_active and not works and held.is_policy_new:
        raise NotReady(
            f"the policy of user {request.identity.name} was written just now, and S3 does not know it yet",
            delay=request.patience.settle,
            request_id=seen.request_id,
        )
    if is_active and held.is_unchanged and not works:
        text = _DOUBTS[seen.trial].format(user=request.identity.name, bucket=request.bucket)
        raise NotReady(f"{text}: the key is kept, and retried", request_id=seen.request_id)
    return works


def _new_keys(request: Request, made: Made, *, spared: str) -> AccessKeys:
    keys = _pending(request)
    if keys is None:
        keys = _make(request, made, spared)
        if request.parameters.is_aws and request.patience.settle:
            raise NotReady(
                f"IAM is making the new access key of user {request.identity.name} known to S3",
                delay=request.patience.settle,
            )
    return tried_keys(request, keys, is_only_key=made.is_only_key)


def _pending(request: Request) -> AccessKeys | None:
    """The keys that an earlier call made, unless IAM says that they are gone or off."""
    found = request.pending.find(request.user_key)
    if found is None or request.identity.keys().value.get(found.access_key_id) == _ACTIVE:
        return found
    request.pending.discard_keys(request.user_key)
    return None


def _make(request: Request, made: Made, spared: str) -> AccessKeys:
    if not request.pending.may_make(request.user_key):
        raise NotReady(
            f"two access keys were made for user {request.identity.name} within an hour, and both were removed or "
            "switched off before they worked: another one is made later"
        )
    keys = request.identity.create_keys(spared=spared)
    request.pending.keep(request.user_key, keys, made)
    return keys


def _attempt_new(request: Request, keys: AccessKeys) -> Attempt:
    """The first try that failed, or the last of as many as it takes to believe that all of S3 knows the key."""
    confirmations = _confirmations(request)
    seen = request.trials.attempt(keys, request.bucket)
    for _ in range(confirmations):
        if seen.trial not in accepted_trials(request.parameters):
            break
        seen = request.trials.attempt(keys, request.bucket)
    return seen


def _check_encryption(request: Request, keys: AccessKeys) -> None:
    """Makes sure that a claim of a class with a KMS key can write; in a bucket of others nothing is written."""
    parameters = request.parameters
    if not (parameters.kms_key_id and request.is_greenfield and may_write(parameters.iam_policy)):
        return
    seen = request.trials.attempt_writing(keys, request.bucket, parameters.kms_key_id)
    if seen.trial is not Trial.WORKS:
        raise NotReady(
            f"S3 accepts the new access key of user {request.identity.name}, and does not let it write: the key in "
            "parameter kmsKeyId must let the account's policies decide, and no other policy may deny s3:PutObject",
            delay=_next_try(request),
            request_id=seen.request_id,
        )


def _confirmations(request: Request) -> int:
    if not request.parameters.is_aws:
        return 0
    # One less there: the tags of a new bucket have taken a request more, and IAM's control plane, which tells all
    # regions of new keys, is in that one. AWS promises no order; row 10 of `docs/first-hour-on-aws.md` asks for it.
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/disaster-recovery-resiliency.html
    return request.patience.confirmations - (request.parameters.region == TOLERANT_REGION)


def _next_try(request: Request) -> float:
    """Seconds: longer for a key that has been waited for longer."""
    settle = request.patience.settle
    return min(max(settle / 2, request.pending.age(request.user_key) / 2, 1.0), request.patience.longest_settle)
