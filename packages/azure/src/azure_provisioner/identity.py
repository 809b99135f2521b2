"""What lets a claim in: a stored access policy and the SAS bound to it, or a user-delegation SAS.

Used by `provisioner`, as the administrator. Knows nothing of ownership tags. Every call is idempotent: what exists
is kept, what is gone is success.

Azure writes a container's access policies and its public access as a whole, so that two concurrent editors would lose
one of the edits. For this operation it honours no If-Match ("Set Container ACL" and "Specifying conditional headers for
Blob service operations", REST reference: only If-Modified-Since and If-Unmodified-Since, in whole seconds). So an
editor holds the container's lease meanwhile, and writes with the lease's id, which Azure checks in the same step; and
with If-Unmodified-Since, for the edits of clients that do not take the lease. What remains: an edit by another
client within the same second, between our reading and our writing.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import AccessPolicy, generate_container_sas

from azure_provisioner.errors import code_of, request_id_in, translate, translated
from azure_provisioner.policy import (
    SKEW,
    Acl,
    Sas,
    StoredPolicy,
    decide_policy,
    format_time,
    has_drifted,
    parse_time,
    renewal_of,
)
from libbucket import ExpiresLater, NotReady, Reason, RetrySlowly, SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from azure.storage.blob import BlobLeaseClient

    from azure_provisioner.client import Clients
    from azure_provisioner.errors import Refusal
    from azure_provisioner.parameters import Parameters

POLICY_STATE: Final = "AccessPolicy"
EXPIRY_STATE: Final = "SasExpiry"

LEASE_SECONDS: Final = 15
"""The shortest lease that Azure gives: a holder that dies blocks others for no longer than this."""

_POLL_SECONDS: Final = (0.05, 0.3)
_RETRY_SECONDS: Final = 5.0
_LONGEST: Final = timedelta(days=7)
_OWN_ACCESS: Final = "the claim's own access"


@dataclass(frozen=True, kw_only=True)
class Granted:
    """What a claim holds.

    Attributes:
        sas: the token.
        renew_at: when the verb is to be called again, before it ends.
        state: what to remember about it.
    """

    sas: SecretStr
    renew_at: datetime
    state: Mapping[str, str]
    is_restored: bool = False


class _AsItIs(AccessPolicy):
    """A policy that Azure's client writes as it was read.

    The client writes the times of every policy anew, drops fractions of a second and refuses mere dates; but not of one
    that is false.
    """

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class _Read:
    """An ACL, when its container was last changed, and how many seconds ago by Azure's own clock."""

    acl: Acl
    modified: datetime
    age: float


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
        """
        parameters = self.clients.parameters
        acl = Acl(public_access=None, policies=()) if is_new else self._read(container).acl
        policy, missing = decide_policy(acl, self.prefix, parameters, now, is_lost=is_lost)
        if missing is not None:
            policy = self._write_policy(container, now, is_lost=is_lost)
        is_kept = held is not None and held.policy == policy.id and self._is_genuine(held, container)
        sas = held.token if held is not None and is_kept else self._sign(container, policy.id)
        refusal = self.try_sas(sas, container)
        if refusal is not None:
            raise refusal.as_error(self.clients.call(_OWN_ACCESS), container)
        expiry = parse_time(policy.expiry)
        assert expiry is not None, "decide_policy gives none without"  # noqa: S101 - narrows a type
        return Granted(
            sas=sas,
            renew_at=renewal_of(expiry, parameters),
            state={POLICY_STATE: policy.id},
            is_restored=has_drifted(acl, self.prefix, parameters, now),
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
            found = self._read(container)
            removed = {policy.id for policy in found.acl.of_claim(self.prefix)}
            if removed:
                self._edit(container, lambda acl: acl.without_claim(self.prefix))
        except _NoContainer:
            return False
        policies = sorted(removed | ({recorded} if recorded else set()))
        if policies:
            self._check_settled(container, 0 if removed else found.age)
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
            changed = self._read(container).acl.without_claims()
        except _NoContainer:
            return unmodified_since
        if changed is None:
            return unmodified_since
        with translated(self.clients.call("containers/setAcl/action")):
            written: Any = self.clients.container(container).set_container_access_policy(
                _as_they_are(changed), if_unmodified_since=unmodified_since
            )
        modified: datetime = written["last_modified"]
        return modified

    def _check_settled(self, container: str, age: float) -> None:
        """Whether no front end can remember the policies that were there before the last change."""
        settled = self.clients.settle_seconds
        # Azure's times have whole seconds: up to one of them has not passed yet.
        rest = settled + 1 - age if settled else 0
        if rest > 0:
            raise NotReady(
                f"the stored access policy of the claim was removed from container {container}, and Azure may take "
                f"{settled:.0f} seconds to refuse its SAS everywhere",
                delay=rest,
            )

    def _is_genuine(self, held: Sas, container: str) -> bool:
        key = self.clients.admin.key
        return key is not None and held.is_signed_by(key, self.clients.parameters.account, container)

    def _write_policy(self, container: str, now: datetime, *, is_lost: bool) -> StoredPolicy:
        decided: list[StoredPolicy] = []

        def decide(acl: Acl) -> Acl | None:
            policy, changed = decide_policy(acl, self.prefix, self.clients.parameters, now, is_lost=is_lost)
            decided.append(policy)
            return changed

        self._edit(container, decide)
        return decided[-1]

    def _edit(self, container: str, change: Callable[[Acl], Acl | None]) -> None:
        """Reads, changes and writes the container's ACL while holding its lease."""
        with self.leased(container) as lease:
            found = self._read(container)
            changed = change(found.acl)
            if changed is not None:
                self._write(container, changed, lease, found.modified)

    def _read(self, container: str) -> _Read:
        headers: list[Mapping[str, str]] = []
        with translated(self.clients.call("containers/getAcl/action")):
            try:
                found: Mapping[str, Any] = self.clients.container(container).get_container_access_policy(
                    raw_response_hook=self.clients.keep_headers(headers)
                )
            except ResourceNotFoundError as error:
                raise self._gone(error, container) from error
        acl = Acl(
            public_access=found["public_access"],
            policies=tuple(_stored_policy(each) for each in found["signed_identifiers"]),
        )
        modified = parsedate_to_datetime(headers[-1]["Last-Modified"])
        return _Read(acl=acl, modified=modified, age=(_date_of(headers[-1]) - modified).total_seconds())

    def _write(self, container: str, acl: Acl, lease: BlobLeaseClient, modified: datetime) -> None:
        with translated(self.clients.call("containers/setAcl/action")):
            self.clients.container(container).set_container_access_policy(
                _as_they_are(acl), public_access=acl.public_access, lease=lease, if_unmodified_since=modified
            )

    def _gone(self, error: ResourceNotFoundError, container: str) -> Exception:
        """What a 404 says: that there is no container, and not just that there is nothing at this address."""
        if code_of(error) == "ContainerNotFound":
            return _NoContainer(container, request_id_in(error))
        return translate(error, self.clients.call("containers/read"))

    @contextmanager
    def leased(self, container: str) -> Iterator[BlobLeaseClient]:
        """The container's lease, for a client that edits what Azure writes as a whole.

        Raises:
            NotReady: another client holds it.
        """
        lease = self._acquire(container)
        try:
            yield lease
        finally:
            # It ends by itself soon; and an error of the block is the one that counts.
            with suppress(AzureError):
                lease.release()

    def _acquire(self, container: str) -> BlobLeaseClient:
        deadline = time.monotonic() + self.clients.network.wait_seconds
        with translated(self.clients.call("containers/write")):
            while True:
                try:
                    return self.clients.container(container).acquire_lease(LEASE_SECONDS)
                except ResourceNotFoundError as error:
                    raise self._gone(error, container) from error
                except HttpResponseError as error:
                    if not isinstance(error, ResourceExistsError) or not code_of(error).startswith("Lease"):
                        raise
                    if time.monotonic() > deadline:
                        raise self._lease_taken(container, request_id_in(error)) from error
                time.sleep(random.uniform(*_POLL_SECONDS))  # noqa: S311 - jitter

    def _lease_taken(self, container: str, request_id: str) -> Exception:
        lease = self.clients.container(container).get_container_properties().lease
        if lease.duration == "infinite":
            return RetrySlowly(
                f"container {container} has a lease without end, so its policies can't be edited safely: break it",
                reason=Reason.NOT_READY,
                request_id=request_id,
            )
        message = f"another client holds the lease of container {container}"
        return NotReady(message, delay=LEASE_SECONDS / 3, request_id=request_id)

    def _sign(self, container: str, policy: str) -> SecretStr:
        parameters, key = self.clients.parameters, self.clients.admin.key
        assert key is not None, "parse_admin refuses a Secret without one"  # noqa: S101 - narrows a type
        return SecretStr(
            generate_container_sas(
                parameters.account,
                container,
                account_key=key.reveal(),
                policy_id=policy,
                protocol=_protocol(parameters),
            )
        )


@dataclass(frozen=True, kw_only=True)
class Delegation:
    """User-delegation SAS, which the administrator's identity signs with a key that ends within days.

    A single one can't be revoked: they end at their time, or with their container.

    Attributes:
        clients: of this verb.
        try_sas: why a SAS is refused by a container; None where it is not.
    """

    clients: Clients
    try_sas: Callable[[SecretStr, str], Refusal | None]

    def ensure(
        self, container: str, held: Sas | None, state: Mapping[str, str], now: datetime, *, is_unchanged: bool = False
    ) -> Granted:
        """A SAS that works and is young: the one that the claim holds, or a new one.

        Args:
            container: where.
            held: what the claim's Secret holds.
            state: what was remembered of earlier ones.
            now: by the core's clock.
            is_unchanged: the Secret holds what was issued. Then one refusal proves nothing, and it is replaced only
                where it is refused while a new one is accepted, as after `revoke-delegation-keys`.

        Raises:
            NotReady: it does not work yet, or was refused just now.
            AccessDenied: the identity lacks a role, or a setting of the account forbids the SAS.
        """
        parameters, recorded = self.clients.parameters, parse_time(state.get(EXPIRY_STATE))
        young = held if held is not None and self._is_young(held, recorded, now) else None
        if young is not None and self.try_sas(young.token, container) is None:
            return self._kept(young, state)
        # From its start on, the SAS lasts as long as the class says: an account may limit that.
        start = (now - SKEW).replace(microsecond=0)
        expiry = start + parameters.lifetime
        sas = self._sign(container, start, expiry)
        refusal = self.try_sas(sas, container)
        if refusal is not None:
            raise refusal.as_error(self.clients.call(_OWN_ACCESS), container, is_delegated=True)
        if young is not None and is_unchanged and self.try_sas(young.token, container) is None:
            return self._kept(young, state)
        # What the Secret holds may have been issued by a call whose answer was recorded nowhere else.
        unrecorded = min(held.expiry, now + _LONGEST) if held is not None and held.expiry is not None else expiry
        ends = max(expiry, recorded or expiry, unrecorded)
        return Granted(sas=sas, renew_at=renewal_of(expiry, parameters), state={EXPIRY_STATE: format_time(ends)})

    def _is_young(self, held: Sas, recorded: datetime | None, now: datetime) -> bool:
        """Whether it is recorded, what the class says, and not to be renewed yet."""
        parameters = self.clients.parameters
        if held.expiry is None or recorded is None or held.permission != parameters.permissions:
            return False
        return now < renewal_of(held.expiry, parameters) and held.expiry <= recorded

    def _kept(self, held: Sas, state: Mapping[str, str]) -> Granted:
        assert held.expiry is not None, "a young one says when it ends"  # noqa: S101 - narrows a type
        renew_at = renewal_of(held.expiry, self.clients.parameters)
        return Granted(sas=held.token, renew_at=renew_at, state={EXPIRY_STATE: state[EXPIRY_STATE]})

    def _sign(self, container: str, start: datetime, expiry: datetime) -> SecretStr:
        parameters = self.clients.parameters
        with translated(self.clients.call("generateUserDelegationKey/action")):
            # The headers of its answer are not checked: it has to be a key, so nothing else passes for it.
            key = self.clients.service.get_user_delegation_key(start, expiry, raw_response_hook=lambda _answer: None)
            return SecretStr(
                generate_container_sas(
                    parameters.account,
                    container,
                    user_delegation_key=key,
                    permission=parameters.permissions,
                    start=start,
                    expiry=expiry,
                    protocol=_protocol(parameters),
                )
            )


def check_ended(state: Mapping[str, str], now: datetime) -> None:
    """Waits for the end of user-delegation SAS, which can't be revoked singly.

    Raises:
        ExpiresLater: the last one that was issued still works; `delay` is the time left.
    """
    ends = parse_time(state.get(EXPIRY_STATE))
    if ends is not None and ends > now:
        raise ExpiresLater(
            f"a user-delegation SAS can't be revoked singly: the last one of this claim ends at {format_time(ends)}",
            delay=(ends - now).total_seconds(),
        )


class _NoContainer(NotReady):
    """There is no such container (any more)."""

    def __init__(self, container: str, request_id: str) -> None:
        super().__init__(f"container {container} was deleted concurrently", request_id=request_id)


def _as_they_are(acl: Acl) -> dict[str, AccessPolicy]:
    """Policies in the form in which Azure's client writes them as they were read."""
    return {
        policy.id: _AsItIs(permission=policy.permission, expiry=policy.expiry, start=policy.start)
        for policy in acl.policies
    }


def _date_of(headers: Mapping[str, str]) -> datetime:
    """When Azure answered."""
    found = headers.get("Date")
    return parsedate_to_datetime(found) if found else datetime.now(UTC)


def _stored_policy(found: Any) -> StoredPolicy:
    policy = found.access_policy
    return StoredPolicy(
        id=found.id,
        start=policy.start if policy is not None else None,
        expiry=policy.expiry if policy is not None else None,
        permission=policy.permission if policy is not None else None,
    )


def _protocol(parameters: Parameters) -> str | None:
    """A SAS never travels in the clear where TLS is spoken."""
    return "https" if parameters.secure else None
