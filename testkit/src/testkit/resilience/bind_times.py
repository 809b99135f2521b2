"""How long another tenant's claims take to bind beside an attack, against how long they take without it.

Claims are bound one after another, and the median counts, so that one slow request of a busy machine is no finding.
The ratio is reported; what fails a trial is a claim that is not bound in `BOUND_WITHIN`.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from testkit.resilience.tenant_environment import is_bound

if TYPE_CHECKING:
    from testkit.resilience.tenant_environment import Tenant, TenantEnvironment

BOUND_WITHIN: Final = 20.0
"""Seconds for one claim of another tenant, however busy the machine is."""

CLAIMS: Final = 5


@dataclass(frozen=True, kw_only=True)
class BindTimes:
    """Seconds from creating each claim to its being bound."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of all claims."""
        return statistics.median(self.seconds)

    def beside(self, usual: BindTimes) -> str:
        """One phrase that compares these times with those without the attack."""
        return (
            f"another tenant bound in {self.median:.2f} s, without the attack in {usual.median:.2f} s: "
            f"ratio {self.median / usual.median:.2f} (slowest {max(self.seconds):.2f} s)"
        )


def bind_times(tenants: TenantEnvironment, prefix: str) -> BindTimes:
    """Binds a few claims of the other tenant's namespace, one after another.

    Args:
        tenants: the environment; the other tenant makes the claims.
        prefix: of the claims' names.

    Raises:
        TimeoutError: one was not bound in time.
    """
    return BindTimes(seconds=tuple(_bind(tenants.other, f"{prefix}-{number}") for number in range(CLAIMS)))


def _bind(tenant: Tenant, name: str) -> float:
    started = time.monotonic()
    tenant.claim(name)
    tenant.wait(name, is_bound, seconds=BOUND_WITHIN)
    return time.monotonic() - started
