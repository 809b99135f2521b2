"""What lets a claim in by the account's key: a stored access policy of its own, and the SAS that is bound to it.

Used by `provisioner`, as the administrator. Knows nothing of ownership tags. Every call is idempotent: what exists
is kept, what is gone is success.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from azure.storage.blob import generate_container_sas

from azure_provisioner.access_policies import AccessPolicies, NoContainer
from azure_provisioner.clocks import doubts, is_wrong, wrong_clock
from azure_provisioner.policy import Acl, decide_policy, has_drifted, parse_time, renewal_of
from libbucket import NotReady, SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from azure_provisioner.access_policies import Read
    from azure_provisioner.client import Clients
    from azure_provisioner.errors import Refusal
    from azure_provisioner.parameters import Parameters
    from azure_provisioner.policy import Sas, StoredPolicy

POLICY_STATE: Final = "AccessPolicy"
OWN_ACCESS: Final = "the claim's own access"

_RETRY_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Granted:
    """What a claim holds.

    Attributes:
        sas: the token.
        renew_at: when the verb is to be called again, before it ends.
        state: what to remember about it.
        is_restored: what lets it in was removed, or changed.
        warnings: for the claim.
    """

    sas: SecretStr
    renew_at: datetime
    state: Mapping[str, str]
    is_restored: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StoredPolicies:
    """The stored access policy of one claim, and the SAS that is bound to it.

    Attributes:
        clients: of this verb.
        prefix: what ids of this claim's policies begin with.
        try_sas: why a SAS is refused by a container; None where it is not.
    """

    clients: Clients
    prefix: str
    try_sas: Callable[[SecretStr, str], Refusal | None]

    @property
    def acl(self) -> AccessPolicies:
        """Access policies of containers."""
        return AccessPolicies(clients=self.clients)

    def ensure(
        self, container: str, held: Sas | None, now: datetime, *, is_new: bool = False, is_lost: bool = False
    ) -> Granted:
        """The claim's policy is there, and its SAS works: the one that it holds, or one signed anew.

        The one that it holds is kept where it is bound to the claim's policy and was signed with the administrator's
        key. A refusal proves nothing against it: another front end of Azure's may not know the policy yet, or no more.
        One that another key has signed is signed anew, before that key is regenerated: both work until then.

        Args:
            container: where.
            held: what the claim's Secret holds.
            now: by the core's clock.
            is_new: the container was just made, so that there can't be a policy yet.
            is_lost: the claim was bound, and its Secret holds no SAS.

        Raises:
            QuotaExceeded: the container has five policies of others.
            NotReady: the SAS does not work yet: Azure may take 30 seconds to know a new policy.
            AccessDenied: a setting of the account forbids the SAS.
            Misconfigured: the provisioner's clock is wrong.
        """
        parameters = self.clients.parameters
        acl = Acl(public_access=None, policies=()) if is_new else self.acl.read(container).acl
        policy, missing = decide_policy(acl, self.prefix, parameters, now, is_lost=is_lost)
        warnings: tuple[str, ...] = ()
        if missing is not None:
            policy, warnings = self._write_policy(container, now, is_lost=is_lost)
        is_kept = held is not None and held.policy == policy.id and self._is_genuine(held, container)
        sas = held.token if held is not None and is_kept else self._sign(container, policy.id)
        refusal = self.try_sas(sas, container)
        if refusal is not None:
            raise refusal.as_error(self.clients.call(OWN_ACCESS), container)
        expiry = parse_time(policy.expiry)
        assert expiry is not None, "decide_policy gives none without"  # noqa: S101 - narrows a type
        return Granted(
            sas=sas,
            renew_at=renewal_of(expiry, parameters),
            state={POLICY_STATE: policy.id},
            is_restored=has_drifted(acl, self.prefix, parameters, now),
            warnings=warnings,
        )

    def revoke(self, container: str, recorded: str) -> bool:
        """Removes the claim's policy; the container and others' policies stay.

        One refusal proves nothing: each front end of Azure's keeps access policies in a cache of its own. So the
        container's last change has to lie as far back as any of them may remember, and then the SAS has to be refused.

        Args:
            container: where.
            recorded: id of the claim's policy as far as it was recorded; empty where it was not.

        Returns:
            False where Azure says that there is no such container.

        Raises:
            NotReady: Azure may still accept the SAS, or does.
        """
        try:
            found = self.acl.read(container)
            removed = {policy.id for policy in found.acl.of_claim(self.prefix)}
            if removed:
                self.acl.edit(container, lambda read: read.acl.without_claim(self.prefix))
        except NoContainer:
            return False
        policies = sorted(removed | ({recorded} if recorded else set()))
        if policies:
            self._check_settled(container, 0 if removed else found.age, found.request_id)
        for policy in policies:
            if self.try_sas(self._sign(container, policy), container) is None:
                raise NotReady(f"Azure still accepts a SAS of stored access policy {policy}", delay=_RETRY_SECONDS)
        return True

    def remove_all(self, container: str, unmodified_since: datetime) -> datetime:
        """Removes the policies of all claims from a container that is about to be deleted.

        Else they would be valid again in a container that is restored ("Restore Container": with its properties). No
        lease is needed: no claim may be let into it any more.

        Returns:
            When the container was last changed: now, or before.

        Raises:
            NotReady: it was changed since.
        """
        try:
            changed = self.acl.read(container).acl.without_claims()
        except NoContainer:
            return unmodified_since
        if changed is None:
            return unmodified_since
        return self.acl.remove(container, changed, unmodified_since)

    def _check_settled(self, container: str, age: float, request_id: str) -> None:
        """Whether no front end can remember the policies that were there before the last change."""
        settled = self.clients.settle_seconds
        # Azure's times have whole seconds: up to one of them has not passed yet.
        rest = settled + 1 - age if settled else 0
        if rest > 0:
            raise NotReady(
                f"the stored access policy of the claim was removed from container {container}, and Azure may take "
                f"{settled:.0f} seconds to refuse its SAS everywhere",
                delay=rest,
                request_id=request_id,
            )

    def _is_genuine(self, held: Sas, container: str) -> bool:
        key = self.clients.admin.key
        return key is not None and held.is_signed_by(key, self.clients.parameters.account, container)

    def _write_policy(self, container: str, now: datetime, *, is_lost: bool) -> tuple[StoredPolicy, tuple[str, ...]]:
        """Writes the claim's policy; gives it, and warnings about the clock that dates it."""
        decided: list[tuple[StoredPolicy, tuple[str, ...]]] = []
        url = self.clients.parameters.url

        def decide(found: Read) -> Acl | None:
            if is_wrong(found.lead):
                raise wrong_clock(found.lead, url, found.request_id)
            policy, changed = decide_policy(found.acl, self.prefix, self.clients.parameters, now, is_lost=is_lost)
            decided.append((policy, doubts(found.lead, url)))
            return changed

        self.acl.edit(container, decide)
        return decided[-1]

    def _sign(self, container: str, policy: str) -> SecretStr:
        parameters, key = self.clients.parameters, self.clients.admin.key
        assert key is not None, "parse_admin refuses a Secret without one"  # noqa: S101 - narrows a type
        return SecretStr(
            generate_container_sas(
                parameters.account,
                container,
                account_key=key.reveal(),
                policy_id=policy,
                protocol=signed_protocol(parameters),
            )
        )


def signed_protocol(parameters: Parameters) -> str | None:
    """A SAS never travels in the clear where TLS is spoken."""
    return "https" if parameters.secure else None
