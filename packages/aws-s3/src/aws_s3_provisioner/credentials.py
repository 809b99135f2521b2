"""The claim's access key: a held one is kept unless IAM says that it is gone or off, and a new one is waited for.

Used by `provisioner`. A test of a key asks S3, which may refuse it for reasons that no other key would help against: it
has not heard of the key yet, or a policy denies the user. Only IAM knows whether a key exists. Another key is never
removed before the new one works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_s3_provisioner.policy import may_list
from aws_s3_provisioner.storage import Attempt, Trial
from libbucket import NotReady

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_s3_provisioner.parameters import Parameters
    from aws_s3_provisioner.request import Request
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


def ensure_keys(request: Request, held: AccessKeys | None, *, is_unchanged: bool, is_policy_new: bool) -> AccessKeys:
    """Keys that work: those that the claim holds, those that were made before and did not work yet, or new ones.

    Args:
        request: of the verb.
        held: what the claim's Secret holds.
        is_unchanged: whether that is what an earlier call gave; see `BucketOptions.credentials_unchanged`.
        is_policy_new: whether the user's policy was written by this call, and S3 may not know it yet.

    Raises:
        NotReady: S3 does not accept them yet, or any more; nothing was replaced.
    """
    if held is None:
        return _new_keys(request, spared="")
    known = request.identity.keys()
    if not _is_kept(request, held, known, is_unchanged=is_unchanged, is_policy_new=is_policy_new):
        # A key that IAM has switched off may go first. One that may work goes when another works.
        is_active = known.get(held.access_key_id) == _ACTIVE
        return _new_keys(request, spared=held.access_key_id if is_active else "")
    request.identity.delete_keys(known.keys() - {held.access_key_id})
    request.pending.forget(request.user_key)
    return held


def accepted_trials(parameters: Parameters) -> frozenset[Trial]:
    """What a trial by listing has to show: where the class lets nobody list, that S3 knows the key is all."""
    return frozenset({Trial.WORKS} if may_list(parameters.iam_policy) else {Trial.WORKS, Trial.DENIED})


def _is_kept(
    request: Request, held: AccessKeys, known: Mapping[str, str], *, is_unchanged: bool, is_policy_new: bool
) -> bool:
    is_active, is_known = known.get(held.access_key_id) == _ACTIVE, held.access_key_id in known
    if not is_active and (is_known or not is_unchanged):
        return False
    seen = _wait(request, held, request.patience.credentials if is_policy_new else 0.0)
    works = seen.trial in accepted_trials(request.parameters)
    if works and not is_active:
        raise NotReady(
            f"IAM does not list the access key of user {request.identity.name}, and S3 accepts it: it is kept until "
            "they agree",
            delay=5,
        )
    if is_active and is_unchanged and not works:
        text = _DOUBTS[seen.trial].format(user=request.identity.name, bucket=request.bucket)
        raise NotReady(f"{text}: the key is kept, and tried again", request_id=seen.request_id)
    return works


def _new_keys(request: Request, *, spared: str) -> AccessKeys:
    keys = _pending(request) or _make(request, spared)
    seen = _wait(request, keys, request.patience.credentials)
    if seen.trial not in accepted_trials(request.parameters):
        raise NotReady(
            f"the new access key of user {request.identity.name} does not work yet, and is tried again; if this stays "
            "so, a policy other than the user's own may keep it out",
            delay=5,
            request_id=seen.request_id,
        )
    request.identity.delete_keys(request.identity.keys().keys() - {keys.access_key_id})
    request.pending.forget(request.user_key)
    return keys


def _pending(request: Request) -> AccessKeys | None:
    """The keys that an earlier call made, unless IAM says that they are gone or off."""
    found = request.pending.find(request.user_key)
    if found is None or request.identity.keys().get(found.access_key_id) == _ACTIVE:
        return found
    request.pending.discard_keys(request.user_key)
    return None


def _make(request: Request, spared: str) -> AccessKeys:
    if not request.pending.may_make(request.user_key):
        raise NotReady(
            f"two access keys were made for user {request.identity.name} within an hour, and both were removed or "
            "switched off before they worked: another one is made later"
        )
    made = request.identity.create_keys(spared=spared)
    request.pending.keep(request.user_key, made)
    return made


def _wait(request: Request, keys: AccessKeys, seconds: float) -> Attempt:
    """The last of several attempts, which ended with success or after `seconds`."""
    seen: list[Attempt] = []

    def works() -> bool:
        seen.append(request.storage.attempt(keys, request.bucket))
        return seen[-1].trial in accepted_trials(request.parameters)

    request.patience.until(works, seconds)
    return seen[-1]
