"""The quick ones of a tenant's attacks, on every store: `nox -s chaos -- neighbours` has them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.resilience.tenant_isolation import ATTACKS, ONCE_ON, tenant_environment, trial_of
from testkit.stores import STORES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import ControlPlane
    from testkit.resilience.tenant_environment import Attack, TenantEnvironment

QUICK = [each for each in ATTACKS if each.quick]


@pytest.fixture(scope="module")
def made(cluster: ControlPlane, request: pytest.FixtureRequest) -> Iterator[TenantEnvironment]:
    """The tenants of one store."""
    with tenant_environment(cluster, request.param) as standing:
        yield standing


def _named(attack: Attack) -> str:
    return attack.name


@pytest.mark.parametrize("made", list(STORES), indirect=True)
@pytest.mark.parametrize("attack", [each for each in QUICK if not each.once], ids=_named)
def test_attacks_on_a_store_fail(made: TenantEnvironment, attack: Attack) -> None:
    assert trial_of(made, attack).run()


@pytest.mark.parametrize("made", [ONCE_ON], indirect=True)
@pytest.mark.parametrize("attack", [each for each in QUICK if each.once], ids=_named)
def test_attacks_on_the_cluster_fail(made: TenantEnvironment, attack: Attack) -> None:
    assert trial_of(made, attack).run()
