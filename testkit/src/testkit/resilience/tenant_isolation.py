"""Part "neighbours": a tenant with a user of its own, and an application with real clients, attack others.

One group for each store; what is about the cluster only is tried in one of them. Before and after each attack a
snapshot is taken: in the end every object of other tenants has the resource version that it had before. Knows groups
and seeds; the attacks are in `attacks_*`, and the tenants in `tenant_environment`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from libbucket.testing.processes import HOST, free_ports
from testkit.resilience import (
    attacks_by_admission,
    attacks_by_input,
    attacks_by_load,
    attacks_on_claims,
    attacks_on_names,
    attacks_on_objects,
    attacks_on_settings,
    attacks_on_stores,
)
from testkit.resilience.proxied_environment import own_cluster, proxied_environment
from testkit.resilience.tenant_environment import Attack, TenantEnvironment
from testkit.resilience.trials import Choice, Group, Trial, groups_by_store
from testkit.stores import STORES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from libbucket.testing.controlplane import ControlPlane

ATTACKS: Final[tuple[Attack, ...]] = (
    *attacks_on_claims.ATTACKS,
    *attacks_on_objects.ATTACKS,
    *attacks_on_settings.ATTACKS,
    *attacks_on_names.ATTACKS,
    *attacks_on_stores.ATTACKS,
    *attacks_by_input.ATTACKS,
    *attacks_by_admission.ATTACKS,
    *attacks_by_load.ATTACKS,
)
ONCE_ON: Final = "minio"


class TenantIsolation:
    """The part.

    Args:
        cluster: starts a control plane for a group.
    """

    name = "neighbours"
    guarantee = "No tenant and no application can access or delay another's claims"

    def __init__(self, cluster: Callable[[], AbstractContextManager[ControlPlane]] = own_cluster) -> None:
        self._cluster = cluster

    def groups(self, choice: Choice) -> list[Group]:
        """One for each store."""
        return groups_by_store(self.name, STORES, choice, self._open)

    @contextmanager
    def _open(self, name: str) -> Iterator[Iterable[Trial]]:
        with self._cluster() as cluster, tenant_environment(cluster, name) as made:
            yield [trial_of(made, each) for each in attacks_on(name)]


@contextmanager
def tenant_environment(cluster: ControlPlane, store: str) -> Iterator[TenantEnvironment]:
    """A store's tenants, and the provisioner with its most permissive configuration."""
    with proxied_environment(cluster, store) as made:
        made.kill()
        address = f"{HOST}:{free_ports(1)[0]}"
        made.flags = ["--bind-address", address, "--allow-additional-config", attacks_on_settings.ALLOWED, "-v", "4"]
        made.start()
        standing = TenantEnvironment(made, cluster, metrics_url=f"http://{address}/metrics")
        try:
            yield standing
        finally:
            standing.close()


def attacks_on(store: str) -> list[Attack]:
    """What is tried on one store."""
    return [each for each in ATTACKS if not each.once or store == ONCE_ON]


def trial_of(made: TenantEnvironment, attack: Attack) -> Trial:
    """An attack, between two snapshots that must be equal."""

    def run() -> str:
        made.environment.ensure_running()
        with made.undisturbed():
            return attack.run(made)

    return Trial(
        seed=f"{TenantIsolation.name}/{made.environment.name}/{attack.name}", expected=attack.expected, run=run
    )
