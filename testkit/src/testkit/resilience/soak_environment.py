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
from testkit.resilience.proxy import Fate, Instead, Meddler, Request
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
"""How many sets of credentials of claims that are gone are tried again."""


class NetworkFault(Meddler):
    """What goes wrong by itself: each request may fail, as likely as it is told.

    Args:
        chance: decides.
        likely: share of the steps that something happens to, from 0 to 1.
    """

    def __init__(self, chance: Random, likely: float) -> None:
        self._chance = chance
        self._likely = likely
        self.requests: Counter[str] = Counter()

    def calm(self) -> None:
        """Nothing goes wrong from now on."""
        self._likely = 0.0

    def worsen(self, likely: float) -> None:
        """As likely as this, from now on."""
        self._likely = likely

    def before(self, request: Request) -> Fate | Instead:
        self.requests[request.proxy] += 1
        if not is_step(request) or self._chance.random() >= self._likely:
            return Fate.PASS
        busy = Instead(status=429 if request.proxy == CLUSTER else 503, headers={"Retry-After": "1"})
        fates: list[Fate | Instead] = [Fate.DROP, Fate.RESET, Fate.TWICE, busy]
        return self._chance.choice(fates)

    def after(self, request: Request, status: int) -> Fate:
        lost = is_step(request) and self._chance.random() < self._likely
        return Fate.DROP if lost else Fate.PASS


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a claim of a class has in the store while it lives, and what it leaves: things by kind."""

    living: Counter[str]
    left: Counter[str]


class SoakEnvironment:
    """One arena with its people.

    Args:
        arena: where.
        chance: of everything that happens here.

    Attributes:
        weather: what goes wrong by itself.
        deeds: how often each thing was done.
        things: how many the store held when it was quiet last.
    """

    def __init__(self, arena: ProxiedEnvironment, chance: Random) -> None:
        self.arena = arena
        self.weather = NetworkFault(chance, 0.0)
        self.deeds: Counter[str] = Counter()
        self.things = 0
        self._chance = chance
        self._kinds: dict[str, str] = {}
        self._kept: list[str] = []
        self._former: list[Bound] = []
        self._needs: Mapping[str, Needs] = {}
        for each in arena.proxies.values():
            each.meddler = self.weather

    def settle(self) -> None:
        """Learns what a claim of each kind needs, by binding and deleting one."""
        self._needs = {kind: self._learn(kind) for kind in KINDS}
        self._baseline = kinds_of(self.arena.store.census())

    def act(self) -> None:
        """Somebody does something, or something breaks."""
        deeds: list[tuple[int, Callable[[], None]]] = [
            (8, self._create),
            (6, self._delete),
            (3, self._edit),
            (2, self._remove_secret),
            (1, self._spoil_config_map),
            (1, self._remove_object_bucket),
            (1, self._cut_connections),
        ]
        (deed,) = self._chance.choices([each for _, each in deeds], [weight for weight, _ in deeds])
        with suppress(ApiException):  # what is not there, or not there any more: as with people
            deed()
            self.deeds[deed.__name__.strip("_")] += 1

    def kill(self) -> None:
        """SIGKILL to the provisioner, and a new one."""
        self.arena.kill()
        self.arena.start()
        self.deeds["kill"] += 1

    def be_quiet(self) -> None:
        """Lets nothing go wrong any more, waits, and checks everything.

        Raises:
            Violation: a promise was broken.
        """
        self.weather.calm()
        eventually(self._assert_settled, seconds=_QUIET_SECONDS, pause=0.5)
        eventually(self._assert_counts, seconds=60.0, pause=0.5)
        for name in self._kinds:
            self.arena.assert_works(self.arena.as_bound(name))
        for bound in self._former:
            if not self.arena.is_refused(bound, bound.bucket):
                raise Violation(f"{self.arena.name}: credentials of a claim that is gone still work: {bound.name}")
        self.arena.assert_neighbour_is_well()

    @property
    def claims(self) -> int:
        """How many there are."""
        return len(self._kinds)

    def _learn(self, kind: str) -> Needs:
        before, name = self.arena.store.census(), self.arena.new_name()
        self.arena.claim(name, self.arena.classes[kind], generateBucketName="photos")
        self.arena.wait_bound(name)
        living = self.arena.store.census() - before
        self.arena.delete_claim(name)
        left = self.arena.store.census() - before
        return Needs(living=kinds_of(living), left=kinds_of(left))

    def _create(self) -> None:
        if len(self._kinds) < _MOST_CLAIMS:
            name, kind = self.arena.new_name(), self._chance.choice(KINDS)
            guests = sum(each == "brownfield" for each in self._kinds.values())
            kind = "greenfield" if kind == "brownfield" and guests >= _MOST_GUESTS else kind
            self.arena.claim(name, self.arena.classes[kind], generateBucketName="photos")
            self._kinds[name] = kind

    def _delete(self) -> None:
        name = self._some_claim()
        if not is_settled(self.arena, name):
            # With Retain, whether a bucket was made before nobody can know; and a record that is being mended
            # may be taken for none.
            return
        bound = self.arena.as_bound(name)
        self.arena.admin.delete(self.arena.claim_path(name))
        kind = self._kinds.pop(name)
        self._kept += [bound.bucket] if kind == "retain" else []
        self._former = [*self._former, bound][-_FORMER:]

    def _edit(self) -> None:
        key, *values = self.arena.store.config
        value = self._chance.choice(values)
        self.arena.admin.patch(self.arena.claim_path(self._some_claim()), {"spec": {"additionalConfig": {key: value}}})

    def _remove_secret(self) -> None:
        self.arena.admin.delete(f"/api/v1/namespaces/{self.arena.namespace}/secrets/{self._some_claim()}")

    def _spoil_config_map(self) -> None:
        path = f"/api/v1/namespaces/{self.arena.namespace}/configmaps/{self._some_claim()}"
        self.arena.admin.patch(path, {"data": {"BUCKET_HOST": "spoilt"}})

    def _remove_object_bucket(self) -> None:
        claim = self.arena.admin.get(self.arena.claim_path(self._some_claim()))
        self.arena.admin.delete(f"{OBC}/objectbuckets/{claim['spec'].get('objectBucketName', 'none')}")

    def _cut_connections(self) -> None:
        self.arena.proxies[self._chance.choice([CLUSTER, STORE])].cut()

    def _some_claim(self) -> str:
        if not self._kinds:
            raise ApiException(status=404, reason="there is no claim yet")
        return self._chance.choice(sorted(self._kinds))

    def _assert_settled(self) -> None:
        waiting = [name for name in self._kinds if not is_settled(self.arena, name)]
        if waiting:
            claim = self.arena.admin.find(self.arena.claim_path(waiting[0])) or {}
            raise Violation(f"{self.arena.name}: {len(waiting)} claims wait, {waiting[0]}: {claim.get('status')}")
        path = f"{OBC}/namespaces/{self.arena.namespace}/objectbucketclaims"
        names = {each["metadata"]["name"] for each in self.arena.admin.items(path)}
        going = names - self._kinds.keys() - {"neighbour"}
        assert not going, f"{self.arena.name}: not gone yet: {sorted(going)}"

    def _assert_counts(self) -> None:
        census = self.arena.store.census()
        expected = Counter(self._baseline)
        for kind in self._kinds.values():
            expected += self._needs[kind].living
        for _ in self._kept:
            expected += self._needs["retain"].left
        found, self.things = kinds_of(census), len(census)
        assert found == expected, (
            f"{self.arena.name}: more than is known {dict(found - expected)}, lost {dict(expected - found)}"
        )
        lost = {bucket for bucket in self._kept if f"bucket {bucket}" not in census}
        assert not lost, f"{self.arena.name}: buckets that were to be kept are gone: {sorted(lost)}"
        objects = self.arena.snapshot().cluster
        secrets = {path.partition("/")[2] for path in objects if path.startswith("secrets/")}
        assert secrets == {*self._kinds, "neighbour", "admin"}, f"{self.arena.name}: Secrets {sorted(secrets)}"
