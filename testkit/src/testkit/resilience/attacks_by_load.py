"""What a tenant does to others by being many, or by a store that hangs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from testkit.resilience.proxied_environment import STORE
from testkit.resilience.proxy import FaultInjector, Request, Verdict, proxy_before
from testkit.resilience.tenant_environment import Attack, is_bound
from testkit.resilience.trials import Violation, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.resilience.tenant_environment import Tenant, TenantEnvironment

MANY: Final = 500
_PROBES: Final = 5
_STUCK: Final = 20
_OTHERS: Final = 200
_WRITERS: Final = 4
_WORKERS: Final = 8
"""Claims at once of a class, as its concurrency limit settles where the processors are the bottleneck."""


def come_as_a_crowd(tenants: TenantEnvironment) -> str:
    """Five hundred claims of one tenant, and meanwhile a few of another, one after the other."""
    alone = max(_time_one(tenants.other, f"alone-{number}") for number in range(3))
    started = time.monotonic()
    _claim_many(tenants.thief, MANY, "greenfield")
    waits = [_time_one(tenants.other, f"among-{number}") for number in range(_PROBES)]
    bound = _count_bound(tenants.thief)
    assert bound < MANY, "the claims were bound before the other tenant had waited: no attack happened"
    eventually(lambda: _assert_bound(tenants.thief, MANY), seconds=900, pause=1.0)
    whole = time.monotonic() - started
    # One turn of every worker before its own, all of them on the same processor: 2 x workers claims' own time.
    limit = 2 * _WORKERS * alone
    assert max(waits) <= limit, f"the other waited {max(waits):.1f} s, and {limit:.1f} s are guaranteed"
    return (
        f"longest wait {max(waits):.1f} s ({max(waits) / alone:.1f} times {alone:.2f} s, what a claim takes alone), "
        f"while {MANY} took {whole:.0f} s"
    )


def hang_the_store(tenants: TenantEnvironment) -> str:
    """Twenty claims of a class whose store hangs, and two hundred of a class whose store works."""
    thief, other, environment = tenants.thief, tenants.other, tenants.environment
    with _hanging_class(tenants) as (storage_class, hang):
        usual = _time_many(other, 40, "before")
        with ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(lambda number: thief.claim_of(f"stuck-{number}", storage_class), range(_STUCK)))
        assert hang.reached.wait(30), "no request reached the store that hangs"
        seconds = _time_many(other, _OTHERS, "well")
        assert not _count_bound(thief), "the store did not hang: the attack is none"
        limit = 3 * usual * _OTHERS / 40 + 10
        said = f"{_OTHERS} claims took {seconds:.0f} s beside a store that hangs, and {limit:.0f} s are guaranteed"
        assert seconds <= limit, said
        hang.let_go.set()
        eventually(lambda: _assert_bound(thief, _STUCK), seconds=400, pause=0.5)
        held = hang.most
        other.clean_up(seconds=300)
        thief.clean_up(seconds=300)
    environment.admin.delete(f"/apis/storage.k8s.io/v1/storageclasses/{storage_class}")
    assert held < _WORKERS, f"all {held} workers were at the store that hangs"
    return (
        f"{_OTHERS} claims bound in {seconds:.0f} s (40 without it: {usual:.0f} s); at most {held} of {_WORKERS} "
        f"workers hung, and all {_STUCK} bound when it was over"
    )


class _Hang(FaultInjector):
    """Holds every request until it is released; counts how many at a time."""

    def __init__(self) -> None:
        self.reached, self.let_go = threading.Event(), threading.Event()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def before(self, request: Request) -> Verdict:
        if self.let_go.is_set():
            return Verdict.PASS
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self.reached.set()
        self.let_go.wait(15)
        with self._lock:
            self._now -= 1
        return Verdict.PASS if self.let_go.is_set() else Verdict.DROP


@contextmanager
def _hanging_class(tenants: TenantEnvironment) -> Iterator[tuple[str, _Hang]]:
    """A class for the same store, by a proxy that hangs."""
    environment, hang = tenants.environment, _Hang()
    with proxy_before("hanging", environment.proxies[STORE].upstream) as proxy:
        proxy.injector = hang
        usual = environment.proxies[STORE].url
        led = {key: value.replace(usual, proxy.url) for key, value in environment.store.parameters.items()}
        try:
            yield environment.make_class(**led), hang
        finally:
            hang.let_go.set()


def _time_one(tenant: Tenant, name: str) -> float:
    """Seconds from asking for a claim to its being bound."""
    started = time.monotonic()
    tenant.claim(name)
    tenant.wait(name, is_bound, seconds=300)
    return time.monotonic() - started


def _time_many(tenant: Tenant, number: int, prefix: str) -> float:
    started = time.monotonic()
    _claim_many(tenant, number, "greenfield", prefix)
    eventually(lambda: _assert_bound(tenant, number, prefix), seconds=600, pause=0.2)
    return time.monotonic() - started


def _claim_many(tenant: Tenant, number: int, kind: str, prefix: str = "many") -> None:
    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(lambda each: tenant.claim(f"{prefix}-{each}", kind), range(number)))


def _count_bound(tenant: Tenant, prefix: str = "") -> int:
    found = tenant.admin.items(tenant.claims)
    return sum(is_bound(each) for each in found if each["metadata"]["name"].startswith(prefix))


def _assert_bound(tenant: Tenant, number: int, prefix: str = "") -> None:
    seen = _count_bound(tenant, prefix)
    if seen != number:
        raise Violation(f"{seen} of {number} claims are bound")


ATTACKS: Final = (
    Attack(
        name="crowd",
        expected=f"beside {MANY} claims another waits for at most {2 * _WORKERS} times what a claim takes alone",
        run=come_as_a_crowd,
    ),
    Attack(
        name="hanging-store",
        expected=f"{_OTHERS} claims of another class bind as if it were not there",
        run=hang_the_store,
    ),
)
