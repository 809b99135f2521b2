"""Soak environment: one store, many claims, random operations and faults, then a quiescence check.

Between `soak`, which lets time pass and measures, and `ProxiedEnvironment`. Counts the violations of the quiescence
check: every claim works, and the store holds what claims need and what was to be retained, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kubernetes.client.exceptions import ApiException

from testkit.cluster.memory_environment import OBC
from testkit.resilience.flows import is_settled, kinds_of
from testkit.resilience.proxied_environment import CLUSTER, STORE, is_step
from testkit.resilience.proxy import FaultInjector, Instead, Request, Verdict
from testkit.resilience.trials import Violation, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from testkit.resilience.proxied_environment import ProxiedEnvironment
    from testkit.stores.base import Bound

KINDS: Final = ("greenfield", "retain", "brownfield")
_MOST_CLAIMS: Final = 40
_MOST_GUESTS: Final = 3
"""Claims on the one old bucket: some stores allow five, of which some may still be going."""
_QUIET_SECONDS: Final = 400.0
"""More than the longest that the core waits between two tries."""
_FORMER: Final = 20
"""How many sets of credentials of claims that are gone are checked."""


class NetworkFault(FaultInjector):
    """Random network faults: each request fails with a given probability.

    Args:
        chance: decides.
        likely: share of the steps that something happens to, from 0 to 1.
    """

    def __init__(self, chance: Random, likely: float) -> None:
        self._chance = chance
        self._likely = likely
        self.requests: Counter[str] = Counter()

    def stop(self) -> None:
        """Injects no more faults."""
        self._likely = 0.0

    def worsen(self, likely: float) -> None:
        """Sets the share of the steps that fail."""
        self._likely = likely

    def before(self, request: Request) -> Verdict | Instead:
        self.requests[request.proxy] += 1
        if not is_step(request) or self._chance.random() >= self._likely:
            return Verdict.PASS
        busy = Instead(status=429 if request.proxy == CLUSTER else 503, headers={"Retry-After": "1"})
        verdicts: list[Verdict | Instead] = [Verdict.DROP, Verdict.RESET, Verdict.TWICE, busy]
        return self._chance.choice(verdicts)

    def after(self, request: Request, status: int) -> Verdict:
        lost = is_step(request) and self._chance.random() < self._likely
        return Verdict.DROP if lost else Verdict.PASS


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a claim of a class has in the store while it exists, and after its deletion: entries by kind."""

    living: Counter[str]
    left: Counter[str]


class SoakEnvironment:
    """A proxied environment, random operations, and random faults.

    Args:
        proxied: where the claims are made.
        chance: of everything that happens here.

    Attributes:
        faults: the random network faults.
        operations: how often each operation was done.
        things: how many the store held when it was quiet last.
    """

    def __init__(self, proxied: ProxiedEnvironment, chance: Random) -> None:
        self.proxied = proxied
        self.faults = NetworkFault(chance, 0.0)
        self.operations: Counter[str] = Counter()
        self.things = 0
        self._chance = chance
        self._kinds: dict[str, str] = {}
        self._kept: list[str] = []
        self._former: list[Bound] = []
        self._needs: Mapping[str, Needs] = {}
        for each in proxied.proxies.values():
            each.injector = self.faults

    def settle(self) -> None:
        """Learns what a claim of each kind needs, by binding and deleting one."""
        self._needs = {kind: self._learn(kind) for kind in KINDS}
        self._baseline = kinds_of(self.proxied.store.census())

    def act(self) -> None:
        """Does one random operation, or injects one fault."""
        operations: list[tuple[int, Callable[[], None]]] = [
            (8, self._create),
            (6, self._delete),
            (3, self._edit),
            (2, self._remove_secret),
            (1, self._corrupt_config_map),
            (1, self._remove_object_bucket),
            (1, self._cut_connections),
        ]
        (operation,) = self._chance.choices([each for _, each in operations], [weight for weight, _ in operations])
        with suppress(ApiException):  # what is not there, or not there any more, as with concurrent users
            operation()
            self.operations[operation.__name__.strip("_")] += 1

    def kill(self) -> None:
        """SIGKILL to the provisioner, and a new one."""
        self.proxied.kill()
        self.proxied.start()
        self.operations["kill"] += 1

    def be_quiet(self) -> None:
        """Stops the faults, waits, and checks every guarantee.

        Raises:
            Violation: a guarantee was violated.
        """
        self.faults.stop()
        eventually(self._assert_settled, seconds=_QUIET_SECONDS, pause=0.5)
        eventually(self._assert_counts, seconds=60.0, pause=0.5)
        for name in self._kinds:
            self.proxied.assert_works(self.proxied.as_bound(name))
        for bound in self._former:
            if not self.proxied.is_refused(bound, bound.bucket):
                raise Violation(f"{self.proxied.name}: credentials of a claim that is gone still work: {bound.name}")
        self.proxied.assert_other_tenant_unaffected()

    @property
    def claims(self) -> int:
        """How many there are."""
        return len(self._kinds)

    def _learn(self, kind: str) -> Needs:
        before, name = self.proxied.store.census(), self.proxied.new_name()
        self.proxied.claim(name, self.proxied.classes[kind], generateBucketName="photos")
        self.proxied.wait_bound(name)
        living = self.proxied.store.census() - before
        self.proxied.delete_claim(name)
        left = self.proxied.store.census() - before
        return Needs(living=kinds_of(living), left=kinds_of(left))

    def _create(self) -> None:
        if len(self._kinds) < _MOST_CLAIMS:
            name, kind = self.proxied.new_name(), self._chance.choice(KINDS)
            guests = sum(each == "brownfield" for each in self._kinds.values())
            kind = "greenfield" if kind == "brownfield" and guests >= _MOST_GUESTS else kind
            self.proxied.claim(name, self.proxied.classes[kind], generateBucketName="photos")
            self._kinds[name] = kind

    def _delete(self) -> None:
        name = self._some_claim()
        if not is_settled(self.proxied, name):
            # With Retain, it cannot be known whether a bucket was made before; and a record that is being
            # repaired may be taken for none.
            return
        bound = self.proxied.as_bound(name)
        self.proxied.admin.delete(self.proxied.claim_path(name))
        kind = self._kinds.pop(name)
        self._kept += [bound.bucket] if kind == "retain" else []
        self._former = [*self._former, bound][-_FORMER:]

    def _edit(self) -> None:
        key, *values = self.proxied.store.config
        value = self._chance.choice(values)
        self.proxied.admin.patch(
            self.proxied.claim_path(self._some_claim()), {"spec": {"additionalConfig": {key: value}}}
        )

    def _remove_secret(self) -> None:
        self.proxied.admin.delete(f"/api/v1/namespaces/{self.proxied.namespace}/secrets/{self._some_claim()}")

    def _corrupt_config_map(self) -> None:
        path = f"/api/v1/namespaces/{self.proxied.namespace}/configmaps/{self._some_claim()}"
        self.proxied.admin.patch(path, {"data": {"BUCKET_HOST": "corrupted"}})

    def _remove_object_bucket(self) -> None:
        claim = self.proxied.admin.get(self.proxied.claim_path(self._some_claim()))
        self.proxied.admin.delete(f"{OBC}/objectbuckets/{claim['spec'].get('objectBucketName', 'none')}")

    def _cut_connections(self) -> None:
        self.proxied.proxies[self._chance.choice([CLUSTER, STORE])].cut()

    def _some_claim(self) -> str:
        if not self._kinds:
            raise ApiException(status=404, reason="there is no claim yet")
        return self._chance.choice(sorted(self._kinds))

    def _assert_settled(self) -> None:
        waiting = [name for name in self._kinds if not is_settled(self.proxied, name)]
        if waiting:
            claim = self.proxied.admin.find(self.proxied.claim_path(waiting[0])) or {}
            raise Violation(f"{self.proxied.name}: {len(waiting)} claims wait, {waiting[0]}: {claim.get('status')}")
        path = f"{OBC}/namespaces/{self.proxied.namespace}/objectbucketclaims"
        names = {each["metadata"]["name"] for each in self.proxied.admin.items(path)}
        going = names - self._kinds.keys() - {"other-tenant"}
        assert not going, f"{self.proxied.name}: not gone yet: {sorted(going)}"

    def _assert_counts(self) -> None:
        census = self.proxied.store.census()
        expected = Counter(self._baseline)
        for kind in self._kinds.values():
            expected += self._needs[kind].living
        for _ in self._kept:
            expected += self._needs["retain"].left
        found, self.things = kinds_of(census), len(census)
        assert found == expected, (
            f"{self.proxied.name}: more than is known {dict(found - expected)}, lost {dict(expected - found)}"
        )
        lost = {bucket for bucket in self._kept if f"bucket {bucket}" not in census}
        assert not lost, f"{self.proxied.name}: buckets that were to be kept are gone: {sorted(lost)}"
        objects = self.proxied.snapshot().cluster
        secrets = {path.partition("/")[2] for path in objects if path.startswith("secrets/")}
        assert secrets == {*self._kinds, "other-tenant", "admin"}, f"{self.proxied.name}: Secrets {sorted(secrets)}"
