"""Allow policies of buckets: read, edited with their etag, and told from what an organisation policy forbids.

Used by `access`, `buckets` and `provisioner`, as the administrator. What an edit changes is in `policy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from google.api_core import exceptions as api

from gcs_provisioner.client import ask_storage
from gcs_provisioner.errors import Call, from_refusal, translated
from gcs_provisioner.policy import is_same
from gcs_provisioner.refusals import constraint_of, id_of, reason_of
from libbucket import AccessDenied, BucketNotFound, NotReady, ProvisionerError, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.api_core.iam import Policy

    from gcs_provisioner.client import Clients
    from gcs_provisioner.policy import Binding

_POLICY_ATTEMPTS: Final = 4


@dataclass(frozen=True, kw_only=True)
class BucketPolicies:
    """Those of one project's buckets, for one verb."""

    clients: Clients

    def edit(self, bucket: str, edit: Callable[[Iterable[Mapping[str, Any]]], list[Binding]]) -> None:
        """Reads the bucket's policy, changes it, and writes it if that changed anything.

        Another's write in between is seen by the etag (412): then all is read again, some times. Conditions of others
        survive, because the policy is read and written as version 3.

        Raises:
            BucketNotFound: there is no bucket.
            NotReady: others wrote too often.
            UnknownMember: Google does not know the account yet.
        """
        refused = ""
        for _ in range(_POLICY_ATTEMPTS):
            policy = self._read(bucket)
            wanted = edit(policy.bindings)
            if is_same(wanted, policy.bindings):
                return
            refusal = self._write(bucket, policy, wanted, is_last=policy.etag == refused)
            if refusal is None:
                return
            refused = policy.etag
        raise NotReady(f"the policy of bucket {bucket} is being modified concurrently", delay=2)

    def find_bindings(self, bucket: str) -> list[Mapping[str, Any]] | None:
        """The bindings of the bucket's policy; None where there is no bucket."""
        try:
            return list(self._read(bucket).bindings)
        except BucketNotFound:
            return None

    def is_readable(self, bucket: str) -> bool:
        """Whether the administrator may read the policy of a bucket of that name."""
        try:
            self._read(bucket)
        except (AccessDenied, BucketNotFound):
            return False
        return True

    def _read(self, bucket: str) -> Policy:
        with translated(self._call("storage.buckets.getIamPolicy")):
            found = self.clients.storage.bucket(bucket)
            try:
                policy: Policy = found.get_iam_policy(requested_policy_version=3, **self.clients.bounds)
            except api.NotFound as refusal:
                raise BucketNotFound(f"bucket {bucket} does not exist", request_id=id_of(refusal)) from refusal
        return policy

    def _write(
        self, bucket: str, read: Policy, wanted: list[Binding], *, is_last: bool
    ) -> api.GoogleAPICallError | None:
        """Writes the policy; gives the refusal where another client may have written since.

        Google answers 412 to a lost race and to what an organisation policy forbids, with the same reason. A policy
        that was read again with the etag that was refused before has not been written by others.

        Args:
            bucket: its name.
            read: what was read.
            wanted: the bindings.
            is_last: whether a write with this very etag was refused before.

        Raises:
            UnknownMember: Google does not know an account of the policy.
            PolicyRefused: an organisation policy forbids it.
        """
        body = {"etag": read.etag, "version": 3, "bindings": wanted}
        with translated(self._call("storage.buckets.setIamPolicy", conditional=True)):
            try:
                # Not by Policy, which leaves out a list that is empty: Google refuses a policy without bindings.
                permission = "storage.buckets.setIamPolicy"
                ask_storage(self.clients, "PUT", f"b/{quote(bucket, safe='')}/iam", permission=permission, body=body)
            except (api.PreconditionFailed, api.Conflict) as refusal:
                if is_last or constraint_of(refusal.response):
                    told = from_refusal(refusal, self._call("storage.buckets.setIamPolicy"))
                    raise PolicyRefused(told.message, request_id=told.request_id) from refusal
                return refusal
            except api.BadRequest as refusal:
                # What a fresh account is answered with: nobody but its maker knows it for some seconds.
                told = from_refusal(refusal, self._call("storage.buckets.setIamPolicy"))
                if constraint_of(refusal.response):
                    raise PolicyRefused(told.message, request_id=told.request_id) from refusal
                raise UnknownMember(bucket, told, wanted, said=reason_of(refusal.response)) from None
        return None

    def _call(self, permission: str, *, conditional: bool = False) -> Call:
        return Call(url=self.clients.parameters.endpoint, permission=permission, conditional=conditional)


class PolicyRefused(StoreRefused):
    """An organisation policy forbids a policy as it was to be written."""


class UnknownMember(NotReady):
    """Google does not take a policy: for an account that is seconds old, that passes.

    Args:
        bucket: whose policy it is.
        refusal: what to tell where it does not pass.
        wanted: the bindings of the policy.
        said: Google's own word for it.
    """

    def __init__(self, bucket: str, refusal: ProvisionerError, wanted: list[Binding], *, said: str) -> None:
        super().__init__(
            f"Google does not take the new policy of bucket {bucket} yet", delay=5, request_id=refusal.request_id
        )
        self.refusal, self.wanted, self.said = refusal, wanted, said
