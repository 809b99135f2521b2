"""Three replicas of one provisioner, each with an account and a proxy of its own, and claims that keep them busy.

    API server  <--- proxy of replica a ---  replica a  ---\
                <--- proxy of replica b ---  replica b  ----> proxy of the store ---> store
                <--- proxy of replica c ---  replica c  ---/

Built on `ProxiedEnvironment`. Attributes a request to the store to the process that has its connection. Knows no trial.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kubernetes.client.exceptions import ApiException

from testkit.cluster.memory_environment import condition
from testkit.resilience.audit_log import AuditLog, Write
from testkit.resilience.proxied_environment import CLUSTER, STORE, proxied_environment
from testkit.resilience.proxy import FaultInjector, Instead, Proxy, Request, Verdict, proxy_before
from testkit.resilience.trials import Violation, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.testing.controlplane import ControlPlane
    from testkit.resilience.fork_server import Child, ForkServer
    from testkit.resilience.proxied_environment import ProxiedEnvironment

NAMES: Final = ("a", "b", "c")
LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 15.0, 10.0, 2.4
"""As the leader election has them; the last one with its jitter."""
SLACK: Final = 6.0
"""Seconds: what a machine that is busy with other things may add."""
_LIVES: Final = 3


@dataclass(kw_only=True)
class Replica:
    """One of them.

    Attributes:
        name: also its account's.
        proxy: between it and the API server.
        kubeconfig: with its own account, by way of its proxy.
        child: its process.
        has_seen_lease: set once it has been told what the Lease says.
    """

    name: str
    proxy: Proxy
    kubeconfig: Path
    child: Child | None = field(default=None)
    has_seen_lease: threading.Event = field(default_factory=threading.Event)


class ReplicaSet:
    """All of them. Use `replica_set`.

    Attributes:
        audit_log: who did what when.
        flags: of replicas that are started from now on, beside those of the leader election.
        on_step: called with the number of each step of the leader's, and its request; for a fault at just that one.
    """

    def __init__(self, made: ProxiedEnvironment, replicas: list[Replica], audit_log: AuditLog) -> None:
        self.environment = made
        self.replicas = replicas
        self.audit_log = audit_log
        self.flags: tuple[str, ...] = ()
        self.on_step: Callable[[int, Request], None] | None = None
        self._steps = 0
        self._lock = threading.Lock()
        made.proxies[STORE].injector = _Watching(self)
        for each in replicas:
            each.proxy.injector = _Watching(self, each)

    # Start and leadership.

    def start(self, replica: Replica, fork_server: ForkServer | None = None) -> None:
        """Starts one that does not run."""
        environment = self.environment
        argv = [
            "--kubeconfig",
            str(replica.kubeconfig),
            "--provisioner-name",
            environment.provisioner_name,
            *environment.flags,
        ]
        argv += ["--leader-elect", "--leader-elect-namespace", environment.namespace, *self.flags]
        replica.has_seen_lease.clear()
        replica.child = (fork_server or environment.fork_server).start(argv)

    def ensure_all_run(self) -> None:
        """Starts those that don't, and waits for a leader, and until the others know that there is one."""
        for each in self.replicas:
            if each.child is None or not each.child.is_running:
                self.start(each)
        eventually(self._assert_leader, seconds=LEASE_SECONDS + 4 * SLACK)
        for each in self.replicas:
            if not each.has_seen_lease.wait(4 * SLACK):
                raise Violation(f"replica {each.name} has not read the lease")

    def leader(self) -> Replica:
        """The replica that the Lease names."""
        name = self._holder()
        return next(each for each in self.replicas if each.name == name)

    def wait_for_other(self, former: Replica, seconds: float) -> float:
        """Waits until another one holds the Lease; gives the time of its request, since the epoch."""
        eventually(lambda: self._assert_other(former), seconds=seconds)
        return self.audit_log.tenures()[-1].at

    @property
    def lease_path(self) -> str:
        """Of the Lease."""
        name = f"libbucket-{self.environment.provisioner_name.replace('/', '-')}"
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.environment.namespace}/leases/{name}"

    def _holder(self) -> str:
        tenures = self.audit_log.tenures()
        return (tenures[-1].who or "") if tenures else ""

    def _assert_leader(self) -> None:
        holder = self._holder()
        runs = [each.name for each in self.replicas if each.child is not None and each.child.is_running]
        assert holder in runs, f"the lease is held by {holder or 'no replica'}, and {runs} run"

    def _assert_other(self, former: Replica) -> None:
        holder = self._holder()
        assert holder not in {"", former.name}, f"the lease is held by {holder or 'no replica'}"

    # Claims.

    @contextmanager
    def busy(self, pause: float = 0.4) -> Iterator[list[str]]:
        """Claims come and go, one after another, inside the block; gives the names of all that were made.

        Args:
            pause: seconds between two.
        """
        stop, made = threading.Event(), list[str]()
        thread = threading.Thread(target=self._come_and_go, args=(stop, made, pause), name="claims", daemon=True)
        thread.start()
        try:
            yield made
        finally:
            stop.set()
            thread.join(30)

    def _come_and_go(self, stop: threading.Event, made: list[str], pause: float) -> None:
        environment = self.environment
        while not stop.wait(pause):
            name = environment.new_name()
            environment.claim(name, environment.classes["greenfield"], generateBucketName="photos")
            made.append(name)
            if len(made) > _LIVES:
                with suppress(ApiException):
                    environment.admin.delete(environment.claim_path(made[-_LIVES - 1]))

    def settle(self, made: list[str]) -> None:
        """All claims that were made are bound and work, or are gone; then they are all taken away."""
        for name in made[-_LIVES:]:
            eventually(lambda name=name: self._assert_bound(name), seconds=60)  # type: ignore[misc]
            self.environment.assert_works(self.environment.as_bound(name))
        for name in made[-_LIVES:]:
            self.environment.admin.delete(self.environment.claim_path(name))
        eventually(lambda: self._assert_gone(made), seconds=60)

    def _assert_bound(self, name: str) -> None:
        claim = self.environment.admin.find(self.environment.claim_path(name)) or {}
        assert condition(claim).get("status") == "True", f"claim {name} is not bound: {claim.get('status')}"

    def _assert_gone(self, made: list[str]) -> None:
        left = [name for name in made if self.environment.admin.find(self.environment.claim_path(name)) is not None]
        assert not left, f"claims {left} are still there"

    # Observation.

    def note(self, request: Request) -> None:
        """Remembers what went to the store, and counts steps of the leader's."""
        who = self.sender(request)
        if request.proxy == STORE:
            self.audit_log.note_store_request(
                Write(at=time.time(), who=who, what=f"store: {request.method} {request.path}")
            )
        if self.on_step is None or request.method == "GET" or "/leases" in request.path:
            return
        with self._lock:
            self._steps += 1
            act, number = self.on_step, self._steps
        if act is not None:
            act(number, request)

    @contextmanager
    def steps(self, act: Callable[[int, Request], None]) -> Iterator[None]:
        """Calls `act` for every step, counted from 1, until the block ends."""
        self._steps, self.on_step = 0, act
        try:
            yield
        finally:
            self.on_step = None

    def find(self, name: str) -> Replica | None:
        """The replica of this name."""
        return next((each for each in self.replicas if each.name == name), None)

    def sender(self, request: Request) -> str:
        """Name of the replica that has the connection of a request; "" if none has."""
        inode = _socket_inode(request.client)
        holders = [each for each in self.replicas if each.child is not None and _has_socket(each.child.pid, inode)]
        return holders[0].name if holders else ""

    def assert_only_the_leader_wrote(self, since: float) -> int:
        """No replica wrote, or called the store, while another held the Lease; gives how many writes were checked."""
        time.sleep(0.3)  # the log is written in batches
        trespasses = self.audit_log.trespasses(since)
        if trespasses:
            lines = "\n  ".join(trespasses[:10])
            tenures = "\n  ".join(f"{each.at:.3f} {each.who} {each.how}" for each in self.audit_log.tenures()[-8:])
            raise Violation(
                f"{len(trespasses)} writes by a replica that did not hold the lease:\n  {lines}\nholders:\n  {tenures}"
            )
        return len(self.audit_log.writes(since))


class _Watching(FaultInjector):
    """Reports every request to the replica set, and marks the replica that has seen the Lease."""

    def __init__(self, replicas: ReplicaSet, replica: Replica | None = None) -> None:
        self._replicas = replicas
        self._replica = replica

    def before(self, request: Request) -> Verdict | Instead:
        self._replicas.note(request)
        return Verdict.PASS

    def after(self, request: Request, status: int) -> Verdict:
        if self._replica is not None and "/leases/" in request.path and status == HTTPStatus.OK:
            self._replica.has_seen_lease.set()
        return Verdict.PASS


def _socket_inode(port: int) -> str:
    """Of the client's end of a connection on 127.0.0.1."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"0100007F:{port:04X}":
            return fields[9]
    return ""


def _has_socket(pid: int, inode: str) -> bool:
    if not inode:
        return False
    for each in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):
            if each.readlink().name == f"socket:[{inode}]":
                return True
    return False


@contextmanager
def replica_set(cluster: ControlPlane, store: str) -> Iterator[ReplicaSet]:
    """Opens a proxied environment with three replicas, one of which leads."""
    with proxied_environment(cluster, store) as made, ExitStack() as stack:
        made.kill()
        replicas = []
        for name in NAMES:
            proxy = stack.enter_context(proxy_before(f"{CLUSTER}-{name}", cluster.url, ca_path=cluster.ca_path))
            replicas.append(Replica(name=name, proxy=proxy, kubeconfig=made.account_kubeconfig(name, proxy.url)))
        gathered = ReplicaSet(made, replicas, AuditLog(cluster.audit_log, made.namespace, NAMES))
        gathered.ensure_all_run()
        yield gathered
