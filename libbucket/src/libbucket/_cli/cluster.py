"""The Leases of libbucket's provisioners, and whether they are held. GET requests only; decides nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from libbucket._cli.facts import LeaseFact
from libbucket._kube.lease import LEASES, Lease
from libbucket._kube.lists import list_typed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from libbucket._kube.client import KubeClient

_LEASE_SECONDS: Final = 60
"""Duration of a Lease that states none."""
_LEASE_PREFIX: Final = "libbucket-"


def list_leases(client: KubeClient) -> tuple[LeaseFact, ...]:
    """The Leases of libbucket's provisioners in all namespaces, judged by this machine's clock.

    Raises:
        KubeError: a refusal, or no answer.
    """
    now = datetime.now(UTC)
    found, _ = list_typed(client, LEASES)
    return tuple(lease_fact(one, now) for one in found if one.metadata.name.startswith(_LEASE_PREFIX))


def names_in(leases: Iterable[LeaseFact], namespace: str) -> tuple[str, ...]:
    """The names of those of a namespace."""
    keys = (one.key.partition("/") for one in leases)
    return tuple(name for where, _, name in keys if where == namespace)


def lease_fact(lease: Lease, now: datetime) -> LeaseFact:
    """Whether a Lease is held."""
    record = lease.record
    duration = record.lease_duration_seconds or _LEASE_SECONDS
    renewed = datetime.fromisoformat(record.renew_time) if record.renew_time else None
    return LeaseFact(
        key=lease.metadata.key,
        holder=lease.holder,
        is_current=renewed is not None and (now - renewed).total_seconds() <= duration,
    )
