"""The policy of a service account: which Kubernetes service accounts may act as it.

Used by `provisioner` and `withdrawal`, as the administrator; what the bindings are is in `policy`. Knows nothing of
buckets and keys, and does not make accounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.api_core import exceptions as api

from gcs_provisioner.errors import NO_REASON, translated
from gcs_provisioner.policy import MOST_CONDITIONS, count_conditions, describe_excess, impersonate, is_same
from gcs_provisioner.refusals import constraint_of, id_of, reason_of
from libbucket import NotReady, QuotaExceeded, Reason, RetrySlowly

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcs_provisioner.identity import Identity

_POLICY_ATTEMPTS: Final = 4


@dataclass(frozen=True, kw_only=True)
class AccountPolicy:
    """That of one account."""

    identity: Identity

    def let_act(self, members: Iterable[str]) -> bool:
        """Lets exactly these Kubernetes service accounts act as the account, as far as this claim is concerned.

        Returns:
            Whether others could before.

        Raises:
            RetrySlowly: the workload identity pool does not exist.
            QuotaExceeded: as many claims as IAM allows share one of them on this account.
            NotReady: others write the account's policy all the time.
        """
        wanted = sorted(members)
        for _ in range(_POLICY_ATTEMPTS):
            policy = self._read()
            before = policy.get("bindings", [])
            bindings = impersonate(before, wanted, title=self.identity.title)
            if is_same(before, bindings):
                return False
            if any(count_conditions(bindings, each) > MOST_CONDITIONS for each in wanted):
                raise QuotaExceeded(
                    f"{MOST_CONDITIONS} claims let {', '.join(wanted)} act as service account {self.identity.email}, "
                    "and IAM allows no more conditional bindings of one member: let this claim name another Kubernetes "
                    "service account, or use a class without serviceAccount"
                )
            if self._write({**policy, "version": 3, "bindings": bindings}):
                return True
        raise NotReady(f"the policy of service account {self.identity.email} is being modified concurrently", delay=2)

    def _read(self) -> dict[str, Any]:
        permission = "iam.serviceAccounts.getIamPolicy"
        # The reference has the version in the query, and no body:
        # https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/getIamPolicy
        with translated(self.identity.iam_call(permission)):
            return self.identity.ask_settled("POST", ":getIamPolicy?options.requestedPolicyVersion=3", permission)

    def _write(self, policy: dict[str, Any]) -> bool:
        """False where another client wrote since."""
        permission = "iam.serviceAccounts.setIamPolicy"
        with translated(self.identity.iam_call(permission)):
            try:
                self.identity.ask_settled("POST", ":setIamPolicy", permission, {"policy": policy})
            except api.Conflict:
                return False
            except api.BadRequest as refusal:
                reason = reason_of(refusal.response) or NO_REASON
                if constraint_of(refusal.response):
                    raise
                if full := describe_excess(policy["bindings"]):
                    raise QuotaExceeded(
                        f"the policy of service account {self.identity.email} has no room for another claim: it would "
                        f"have {full}",
                        request_id=id_of(refusal),
                    ) from refusal
                raise RetrySlowly(
                    f"Google does not take the Kubernetes service account (400 {reason}): Workload Identity is not "
                    "enabled for a cluster of the project, or parameter workloadIdentityPool names another pool than "
                    "the cluster's",
                    reason=Reason.STORE_REFUSED,
                    request_id=id_of(refusal),
                ) from refusal
        return True
