"""A container's access policies and its public access: read, and edited as a whole without losing others' edits.

Used by `identity` and `containers`, as the administrator. Knows no claim.

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
from typing import TYPE_CHECKING, Any, Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import AccessPolicy

from azure_provisioner.clocks import lead
from azure_provisioner.errors import code_of, request_id_in, request_id_of, time_of, translate, translated
from azure_provisioner.policy import Acl, StoredPolicy
from libbucket import NotReady, Reason, RetrySlowly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime, timedelta

    from azure.storage.blob import BlobLeaseClient

    from azure_provisioner.client import Clients

LEASE_SECONDS: Final = 15
"""The shortest lease that Azure gives: a holder that dies blocks others for no longer than this."""

_POLL_SECONDS: Final = (0.05, 0.3)


class NoContainer(NotReady):
    """There is no such container (any more)."""

    def __init__(self, container: str, request_id: str) -> None:
        super().__init__(f"container {container} was deleted concurrently", request_id=request_id)


class _AsItIs(AccessPolicy):
    """A policy that Azure's client writes as it was read.

    The client writes the times of every policy anew, drops fractions of a second and refuses mere dates; but not of one
    that is false.
    """

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class Read:
    """An ACL, and what the answer says beside it.

    Attributes:
        acl: it.
        modified: when its container was last changed.
        age: how many seconds ago, by Azure's own clock.
        lead: how far the provisioner's clock is ahead of that.
        request_id: of the answer.
    """

    acl: Acl
    modified: datetime
    age: float
    lead: timedelta
    request_id: str


@dataclass(frozen=True, kw_only=True)
class AccessPolicies:
    """The access policies of one account's containers.

    Attributes:
        clients: of this verb.
    """

    clients: Clients

    def edit(self, container: str, change: Callable[[Read], Acl | None]) -> None:
        """Reads, changes and writes the container's ACL while holding its lease."""
        with self.leased(container) as lease:
            found = self.read(container)
            changed = change(found)
            if changed is not None:
                self._write(container, changed, lease, found.modified)

    def read(self, container: str) -> Read:
        """What the container has now.

        Raises:
            NoContainer: there is none.
        """
        headers: list[Mapping[str, str]] = []
        with translated(self.clients.call("containers/getAcl/action")):
            try:
                found: Mapping[str, Any] = self.clients.container(container).get_container_access_policy(
                    raw_response_hook=self.clients.keep_headers(headers)
                )
            except ResourceNotFoundError as error:
                raise self._gone(error, container) from error
            return self._as_read(found, headers[-1])

    def _as_read(self, found: Mapping[str, Any], answer: Mapping[str, str]) -> Read:
        acl = Acl(
            public_access=found["public_access"],
            policies=tuple(_stored_policy(each) for each in found["signed_identifiers"]),
        )
        url = self.clients.parameters.url
        modified = time_of(answer, "Last-Modified", url)
        return Read(
            acl=acl,
            modified=modified,
            age=(time_of(answer, "Date", url) - modified).total_seconds(),
            lead=lead(answer, self.clients.network.clock()),
            request_id=request_id_of(answer),
        )

    def _write(self, container: str, acl: Acl, lease: BlobLeaseClient, modified: datetime) -> None:
        with translated(self.clients.call("containers/setAcl/action")):
            self.clients.container(container).set_container_access_policy(
                _as_they_are(acl), public_access=acl.public_access, lease=lease, if_unmodified_since=modified
            )

    def _gone(self, error: ResourceNotFoundError, container: str) -> Exception:
        """What a 404 says: that there is no container, and not just that there is nothing at this address."""
        if code_of(error) == "ContainerNotFound":
            return NoContainer(container, request_id_in(error))
        return translate(error, self.clients.call("containers/read"))

    @contextmanager
    def leased(self, container: str) -> Iterator[BlobLeaseClient]:
        """The container's lease, for a client that edits what Azure writes as a whole.

        Raises:
            NotReady: another client holds it.
            ProvisionerError: Azure did not release it.
        """
        lease = self._acquire(container)
        try:
            yield lease
        except BaseException:
            # It ends by itself soon; and the error of the block is the one that counts.
            with suppress(AzureError):
                lease.release()
            raise
        self._release(lease)

    def _release(self, lease: BlobLeaseClient) -> None:
        """Releases a lease; one that has ended, or whose container is gone, needs no release."""
        with translated(self.clients.call("containers/write")):
            try:
                lease.release()
            except HttpResponseError as error:
                if not code_of(error).startswith("Lease") and code_of(error) != "ContainerNotFound":
                    raise

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

    def remove(self, container: str, rest: Acl, unmodified_since: datetime) -> datetime:
        """Writes what is left of policies, to a container into which no claim may be let any more: without a lease.

        Returns:
            When the container was last changed.

        Raises:
            NotReady: it was changed since.
        """
        with translated(self.clients.call("containers/setAcl/action")):
            written: Any = self.clients.container(container).set_container_access_policy(
                _as_they_are(rest), if_unmodified_since=unmodified_since
            )
        modified: datetime = written["last_modified"]
        return modified


def _as_they_are(acl: Acl) -> dict[str, AccessPolicy]:
    """Policies in the form in which Azure's client writes them as they were read."""
    return {
        policy.id: _AsItIs(permission=policy.permission, expiry=policy.expiry, start=policy.start)
        for policy in acl.policies
    }


def _stored_policy(found: Any) -> StoredPolicy:
    policy = found.access_policy
    return StoredPolicy(
        id=found.id,
        start=policy.start if policy is not None else None,
        expiry=policy.expiry if policy is not None else None,
        permission=policy.permission if policy is not None else None,
    )
