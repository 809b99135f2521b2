"""Part "outages": the API server or the store is unavailable for a while, in every way, and comes back.

While it is away claims are made and deleted; then it is measured how long it takes until all of them are where they
should be, without a restart, and what was sent, said and held in memory meanwhile.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from testkit.cluster.memory_environment import condition
from testkit.resilience.cluster_access import access_trials
from testkit.resilience.full_disk import disk_trials
from testkit.resilience.long_outage import hour_trials
from testkit.resilience.network_faults import Answers, HalfOpen, NetworkFault, Reset, Silent, Slow
from testkit.resilience.proxied_environment import CLUSTER, STORE, own_cluster, proxied_environment
from testkit.resilience.trials import Choice, Group, Trial, Violation, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from libbucket.testing.controlplane import ControlPlane
    from testkit.resilience.proxied_environment import ProxiedEnvironment
    from testkit.resilience.proxy import Proxy

_STORE: Final = "minio"
_CLAIMS: Final = 10
_NOTICED: Final = 45.0
"""Seconds after which the provisioner has called again: the longest back-off, 30 s, and what a busy machine adds."""
_RECOVERY: Final = 240.0
"""Seconds until all is done that has piled up: a matter of the machine, not of back-offs, so only bounded roughly."""
_MEGABYTES: Final = 30.0
_SLOW_DOWN: Final = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>"
_XML: Final = {"Content-Type": "application/xml"}


@dataclass(frozen=True, kw_only=True)
class Outage:
    """One of them.

    Attributes:
        name: for the seed.
        seconds: how long it lasts.
        begin: begins it, and ends it at the end of the block; gives what counts the requests meanwhile.
        requests: that may be sent meanwhile, at most.
        noticed: seconds after its end in which the provisioner has to have called again.
        is_of_store: whether claims of other classes have to go on meanwhile.
        can_be_asked: whether the API server can be asked, by others, meanwhile.
    """

    name: str
    seconds: float
    begin: Callable[[ProxiedEnvironment], AbstractContextManager[NetworkFault]]
    requests: int
    noticed: float = _NOTICED
    is_of_store: bool = True
    can_be_asked: bool = True


class Outages:
    """The part."""

    name = "outages"
    guarantee = "An outage loses nothing, fails no claim, costs few requests, and is recovered from soon after its end"

    def __init__(self, cluster: Callable[[], AbstractContextManager[ControlPlane]] = own_cluster) -> None:
        self._cluster = cluster

    def groups(self, choice: Choice) -> list[Group]:
        """By what is away."""
        if choice.stores and _STORE not in choice.stores:
            return []
        opened: dict[str, Callable[[Choice], AbstractContextManager[Iterable[Trial]]]] = {
            "store": partial(self._open, STORE_OUTAGES),
            "cluster": partial(self._open, CLUSTER_OUTAGES),
            "access": partial(self._open_other, access_trials),
            "hour": partial(self._open_other, hour_trials),
            "disk": partial(self._open_other, disk_trials),
        }
        wanted = {name: each for name, each in opened.items() if choice.wants(f"{self.name}/{name}/")}
        return [Group(name=name, open=partial(each, choice)) for name, each in wanted.items()]

    @contextmanager
    def _open(self, outages: tuple[Outage, ...], choice: Choice) -> Iterator[Iterable[Trial]]:
        with self._cluster() as cluster, proxied_environment(cluster, _STORE) as made:
            made.flags[-1] = "0"
            made.kill()
            points = choice.draw("outages", range(len(outages)))
            yield (outage_trial(made, outages[each]) for each in points)

    @contextmanager
    def _open_other(
        self, make: Callable[[ControlPlane], Iterable[Trial]], _choice: Choice
    ) -> Iterator[Iterable[Trial]]:
        with self._cluster() as cluster:
            yield make(cluster)


def outage_trial(environment: ProxiedEnvironment, outage: Outage) -> Trial:
    """A trial of one outage."""
    group = "store" if outage.is_of_store else "cluster"
    return Trial(
        seed=f"outages/{group}/{outage.name}",
        expected=f"noticed {outage.noticed:.0f} s after its end, nothing Failed, at most {outage.requests} requests",
        run=partial(_live_through, environment, outage),
    )


def _live_through(environment: ProxiedEnvironment, outage: Outage) -> str:
    environment.ensure_running()
    process = environment.provisioner_process
    assert process is not None
    going = _make(environment, 1)
    eventually(lambda: _assert_bound(environment, going), seconds=_RECOVERY)
    coming = [] if outage.can_be_asked else _begin_work(environment, going)
    log_before, memory_before = len(process.log().splitlines()), _megabytes(process.pid)
    try:
        with outage.begin(environment) as faults:
            coming += _pass_time(environment, outage, going)
        ended = time.monotonic()
        with (
            _between(CLUSTER, NetworkFault, environment) as cluster,
            _between(STORE, NetworkFault, environment) as store,
        ):
            eventually(lambda: _assert_bound(environment, coming), seconds=outage.noticed + _RECOVERY, pause=0.2)
            eventually(lambda: _assert_gone(environment, going), seconds=_RECOVERY)
        seconds = time.monotonic() - ended
        noticed = (store if outage.is_of_store else cluster).first - ended
        assert process.is_running, "the provisioner ended"
        lines = process.log().splitlines()[log_before:]
        _check(outage, noticed, faults.requests, lines, _megabytes(process.pid) - memory_before)
    except Exception as error:
        error.add_note("the log ends with:\n  " + "\n  ".join(process.log().splitlines()[-15:]))
        raise
    for name in coming:
        environment.admin.delete(environment.claim_path(name))
    eventually(lambda: _assert_gone(environment, coming), seconds=_RECOVERY)
    cost = f"{faults.requests} requests, {len(_complaints(lines))} complaints"
    return f"{cost}; asked again after {noticed:.1f} s, all well after {seconds:.1f} s"


def _pass_time(environment: ProxiedEnvironment, outage: Outage, going: list[str]) -> list[str]:
    """What users do during an outage; gives the claims that they made."""
    ends = time.monotonic() + outage.seconds
    coming: list[str] = []
    if outage.can_be_asked:
        coming = _begin_work(environment, going)
    if outage.is_of_store:
        _others_go_on(environment)
    while time.monotonic() < ends:
        if outage.can_be_asked:
            _assert_none_failed(environment, coming)
        time.sleep(0.5)
    if not outage.can_be_asked:
        return coming
    left = [name for name in going if environment.admin.find(environment.claim_path(name)) is not None]
    if outage.is_of_store and left != going:
        raise Violation(f"of the claims {going}, whose store is away, only {left} are still there")
    return coming


def _begin_work(environment: ProxiedEnvironment, going: list[str]) -> list[str]:
    coming = _make(environment, _CLAIMS)
    for name in going:
        environment.admin.delete(environment.claim_path(name))
    return coming


def _others_go_on(environment: ProxiedEnvironment) -> None:
    """A claim of another class is bound, and deleted, as if nothing were."""
    name = environment.new_name()
    environment.claim(name, _healthy_class(environment), generateBucketName="healthy")
    eventually(lambda: _assert_bound(environment, [name]), seconds=60)
    environment.admin.delete(environment.claim_path(name))
    eventually(lambda: _assert_gone(environment, [name]), seconds=60)


def _check(outage: Outage, noticed: float, requests: int, lines: list[str], megabytes: float) -> None:
    complaints = _complaints(lines)
    found = [
        (noticed > outage.noticed, f"no request for {noticed:.1f} s"),
        (requests > outage.requests, f"{requests} requests were sent, and at most {outage.requests} may be"),
        # Each claim has one for its Event; the informers and the election have a few.
        (len(complaints) > 2 * _CLAIMS + 25, f"{len(complaints)} lines: " + "\n".join(complaints[-5:])),
        (megabytes > _MEGABYTES, f"memory grew by {megabytes:.0f} MB"),
    ]
    said = [text for is_broken, text in found if is_broken]
    if said:
        raise Violation("; ".join(said))


def _complaints(lines: list[str]) -> list[str]:
    return [line for line in lines if "[warning" in line or "[error" in line]


# Claims.


def _make(environment: ProxiedEnvironment, count: int) -> list[str]:
    names = [environment.new_name() for _ in range(count)]
    for name in names:
        environment.claim(name, environment.classes["greenfield"], generateBucketName="photos")
    return names


def _healthy_class(environment: ProxiedEnvironment) -> str:
    """A class that reaches the same store by another way."""
    return environment.make_class(endpoint=environment.store.address)


def _assert_bound(environment: ProxiedEnvironment, names: list[str]) -> None:
    for name in names:
        claim = environment.admin.find(environment.claim_path(name)) or {}
        assert condition(claim).get("status") == "True", f"claim {name} is not bound: {claim.get('status')}"


def _assert_gone(environment: ProxiedEnvironment, names: list[str]) -> None:
    left = [name for name in names if environment.admin.find(environment.claim_path(name)) is not None]
    assert not left, f"claims {left} are still there"


def _assert_none_failed(environment: ProxiedEnvironment, names: list[str]) -> None:
    for name in names:
        claim = environment.admin.find(environment.claim_path(name))
        if claim is None:
            raise Violation(f"claim {name} is lost")
        if claim.get("status", {}).get("phase") == "Failed":
            raise Violation(f"an outage made claim {name} Failed: {claim['status']}")


def _megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


# What can be away, and how.


@contextmanager
def _between(
    proxy_name: str, make: Callable[[], NetworkFault], environment: ProxiedEnvironment, *, cut: bool = False
) -> Iterator[NetworkFault]:
    proxy: Proxy = environment.proxies[proxy_name]
    before, faults = proxy.injector, make()
    proxy.injector = faults
    if cut:
        proxy.cut()
    try:
        yield faults
    finally:
        proxy.injector = before
        faults.over.set()


def _on(
    proxy_name: str, make: Callable[[], NetworkFault], *, cut: bool = False
) -> Callable[[ProxiedEnvironment], AbstractContextManager[NetworkFault]]:
    return partial(_between, proxy_name, make, cut=cut)


@contextmanager
def _api_server_killed(environment: ProxiedEnvironment) -> Iterator[NetworkFault]:
    with _between(CLUSTER, NetworkFault, environment) as faults:
        cluster: ControlPlane = environment.cluster  # type: ignore[assignment]
        cluster.kill_api_server()
        try:
            yield faults
        finally:
            cluster.start_api_server()


@contextmanager
def _etcd_killed(environment: ProxiedEnvironment) -> Iterator[NetworkFault]:
    with _between(CLUSTER, NetworkFault, environment) as faults:
        cluster: ControlPlane = environment.cluster  # type: ignore[assignment]
        cluster.kill_etcd()
        try:
            yield faults
        finally:
            cluster.start_etcd()


@contextmanager
def _compacted(environment: ProxiedEnvironment) -> Iterator[NetworkFault]:
    """Disconnected while the server compacts its history: the watches can't go on where they were (410)."""
    with _between(CLUSTER, Reset, environment, cut=True) as faults:
        cluster: ControlPlane = environment.cluster  # type: ignore[assignment]
        yield faults
        cluster.compact()
        cluster.restart_api_server()


STORE_OUTAGES: Final = (
    Outage(name="reset", seconds=20, requests=120, begin=_on(STORE, Reset, cut=True)),
    Outage(name="failing", seconds=60, requests=150, begin=_on(STORE, partial(Answers, 500))),
    Outage(
        name="throttling",
        seconds=20,
        requests=60,
        begin=_on(STORE, partial(Answers, 503, {"Retry-After": "8", **_XML}, _SLOW_DOWN)),
    ),
    Outage(name="slow", seconds=70, requests=150, begin=_on(STORE, partial(Slow, 31.0))),
    Outage(name="half-open", seconds=45, requests=100, begin=_on(STORE, HalfOpen)),
)
CLUSTER_OUTAGES: Final = (
    Outage(name="killed", seconds=8, requests=250, begin=_api_server_killed, is_of_store=False, can_be_asked=False),
    Outage(name="etcd", seconds=8, requests=250, begin=_etcd_killed, is_of_store=False, can_be_asked=False),
    Outage(name="compacted", seconds=5, requests=120, begin=_compacted, is_of_store=False),
    Outage(
        name="throttling",
        seconds=20,
        requests=120,
        begin=_on(CLUSTER, partial(Answers, 429, {"Retry-After": "3"}), cut=True),
        is_of_store=False,
    ),
    Outage(
        name="failing", seconds=60, requests=250, begin=_on(CLUSTER, partial(Answers, 500), cut=True), is_of_store=False
    ),
    Outage(name="reset", seconds=20, requests=200, begin=_on(CLUSTER, Reset, cut=True), is_of_store=False),
    # A watch is given up after 150 s without a sign of life.
    Outage(name="silent", seconds=5, requests=80, begin=_on(CLUSTER, Silent), noticed=165.0, is_of_store=False),
    Outage(name="half-open", seconds=45, requests=120, begin=_on(CLUSTER, HalfOpen), is_of_store=False),
)
