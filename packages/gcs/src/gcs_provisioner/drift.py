"""The drift check: whether a claim still has the access that an earlier call gave it, by a request or two.

Used by `provisioner`. Changes nothing: what is missing is repaired by the next call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_provisioner.access import MEMBER_STATE, build_grant
from gcs_provisioner.keys import FILE_KEY, HMAC_STATE, own_key
from gcs_provisioner.policy import account_member, is_same
from gcs_provisioner.trials import Trials, Verdict

if TYPE_CHECKING:
    from gcs_provisioner.request import Request
    from libbucket import Authentication


def has_access(request: Request, held: Authentication) -> bool:
    """Whether the claim's own keys open its bucket; of a claim without a key, whether the bucket's policy lets it in.

    Args:
        request: of this verb.
        held: what the Secret holds.
    """
    kind = request.parameters.kind
    if kind.has_hmac or kind.has_json_key:
        hmac_works = not kind.has_hmac or _opens_by_hmac(request, held)
        return hmac_works and (not kind.has_json_key or _opens_by_file(request, held))
    bindings = request.policies.find_bindings(request.bucket)
    if bindings is None:
        return False
    member = request.state.get(MEMBER_STATE) or account_member(request.identity.email)
    return is_same(build_grant(request, member)(bindings), bindings)


def _opens_by_hmac(request: Request, held: Authentication) -> bool:
    keys = held.access_keys
    if keys is None or request.state.get(HMAC_STATE, keys.access_key_id) != keys.access_key_id:
        return False  # another claim's key can open the same existing bucket
    return Trials(clients=request.clients).try_hmac(request.bucket, keys).verdict is Verdict.WORKS


def _opens_by_file(request: Request, held: Authentication) -> bool:
    email = request.identity.email
    fields = own_key(held.additional_secret_data.get(FILE_KEY), email)
    trials = Trials(clients=request.clients)
    return fields is not None and trials.try_signed(request.bucket, email, fields).verdict is Verdict.WORKS
