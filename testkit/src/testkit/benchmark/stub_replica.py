"""One of several active replicas, over an API server of its own that answers in a millisecond.

Started by `replicas`, which says when to begin: the controller of production over `stub_api`, with a fixed part of the
shards, and a store that takes its time. Prints the seconds until its last claim is Bound, and its processor time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from libbucket._controller.election import Election, LeaseSettings
from libbucket._controller.shards import SHARDS, shard_of
from libbucket.testing.builders import a_claim, a_class
from testkit.benchmark.provisioner import PROVISIONER_NAME, StatelessProvisioner
from testkit.benchmark.stub_api import StubApi
from testkit.controllers import a_controller
from testkit.quiet import quietly

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from libbucket._controller.controller import Controller
    from libbucket.provisioner import Services

API_SECONDS: Final = 0.001
_CLASS: Final = "buckets"
_NAMESPACES: Final = 8
_POLL: Final = 0.01
_LIMIT: Final = 300.0


class FixedShards(Election):
    """Serves every shard whose number leaves this remainder, from `begin` on: nothing moves while it is measured.

    Args:
        number: of this replica.
        of: how many there are.
    """

    def __init__(self, number: int, of: int) -> None:
        super().__init__(StubApi(0), LeaseSettings(name="none", namespace="none", identity=f"replica-{number}"))
        self._mine = frozenset(range(number, SHARDS, of))

    def begin(self) -> None:
        """As if the shards had been acquired now."""
        self.acquired.set()
        for call in self._on_acquired:
            call(self.leads)

    def leads(self, key: str) -> bool:
        return self.acquired.is_set() and shard_of(key) in self._mine

    @property
    def shards(self) -> int:
        return len(self._mine)

    def begin_work(self, key: str) -> bool:
        return self.leads(key)

    def end_work(self) -> None:
        """Nothing is counted."""

    def check_leadership(self) -> None:
        """It is never lost."""

    def check_renewal(self) -> None:
        """It never expires."""

    def _renew_or_acquire(self) -> None:
        """Nothing to renew."""

    def _lost(self, why: str) -> None:
        del why

    def _give_up(self) -> None:
        """Nothing to release."""


def claim_keys(claims: int) -> list[str]:
    """The keys of all claims, of a few namespaces."""
    return [f"team-{number % _NAMESPACES}/claim-{number}" for number in range(claims)]


@contextmanager
def _running(api: StubApi, election: FixedShards, *, workers: int, store_seconds: float) -> Iterator[Controller]:
    def made(services: Services) -> StatelessProvisioner:
        return StatelessProvisioner(services, seconds=store_seconds)

    controller = a_controller(api, made, provisioner_name=PROVISIONER_NAME, workers=workers, elector=election)
    controller.start()
    try:
        yield controller
    finally:
        controller.stop(5)


def _bound(controller: Controller) -> int:
    # Asked every few milliseconds: unpacking the claims would be measured with the rest.
    return sum(claim.phase == "Bound" for claim in controller._caches.claim_summaries.values())


def measure(given: Any) -> dict[str, float]:
    """Binds the claims of this replica's shards; begins when a line arrives on standard input."""
    api, election = StubApi(API_SECONDS), FixedShards(given.number, given.of)
    api.make("/apis/storage.k8s.io/v1/storageclasses", a_class(name=_CLASS, provisioner=PROVISIONER_NAME))
    keys = claim_keys(given.claims)
    for namespace, _, name in (key.partition("/") for key in keys):
        path = f"/apis/objectbucket.io/v1alpha1/namespaces/{namespace}/objectbucketclaims"
        api.make(path, a_claim(name=name, namespace=namespace, storage_class=_CLASS))
    with _running(api, election, workers=given.workers, store_seconds=given.store_seconds) as controller:
        while controller.not_ready():
            time.sleep(_POLL)
        print("ready", flush=True)
        sys.stdin.readline()
        election.begin()
        started, cpu = time.monotonic(), time.process_time()
        mine = sum(election.leads(key) for key in keys)
        while _bound(controller) < mine:
            if time.monotonic() - started > _LIMIT:
                raise TimeoutError(f"{_bound(controller)} of {mine} claims were bound within {_LIMIT:.0f} s")
            time.sleep(_POLL * 10)
        return {
            "claims": mine,
            "seconds": time.monotonic() - started,
            "cpu_seconds": time.process_time() - cpu,
            "requests": api.requests,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and prints the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, required=True, help="of this replica, from 0")
    parser.add_argument("--of", type=int, required=True, help="replicas")
    parser.add_argument("--claims", type=int, required=True, help="of all replicas")
    parser.add_argument("--workers", type=int, required=True, help="of this replica")
    parser.add_argument("--store-seconds", type=float, required=True, help="that each call to the store takes")
    given = parser.parse_args(arguments)
    with quietly():
        print(json.dumps(measure(given)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
