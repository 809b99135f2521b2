"""Lets towns live for a while, on all stores at once, and watches what that takes: `nox -s soak -- --minutes 60`.

Random claims, edits, deletions, faults and restarts, at a given rate. In turns: some minutes of weather, then quiet, in
which every promise is checked. Half of the provisioners are killed again and again in the first half of the time, the
other half in the second: so each of them also lives long enough to see whether it grows.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from testkit.resilience.process_metrics import Sample, of_process, plot, slope_of
from testkit.resilience.proxied_environment import CLUSTER, STORE, arena, own_cluster
from testkit.resilience.soak_environment import SoakEnvironment
from testkit.resilience.trials import Violation
from testkit.stores import STORES

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUND_SECONDS: Final = 90.0
_SAMPLE_SECONDS: Final = 5.0
_FAULTY: Final = 0.02
"""Share of the requests that something happens to, in bad weather."""
_KILL_SECONDS: Final = 40.0
_WARM_UP: Final = 5.0
"""Minutes."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was asked for.

    Attributes:
        minutes: how long.
        rate: deeds per second and town.
        seed: of everything that is drawn.
        stores: whose towns.
    """

    minutes: float
    rate: float
    seed: int
    stores: Sequence[str]

    def is_restless(self, lane: str, minute: float) -> bool:
        """Whether this town's provisioner is killed now and then."""
        is_first = list(self.stores).index(lane) % 2 == 0
        return is_first == (minute < self.minutes / 2)


class Soak:
    """The towns, and what was seen of them."""

    def __init__(self, plan: Plan, towns: dict[str, SoakEnvironment], console: Console) -> None:
        self.plan = plan
        self.towns = towns
        self.samples: list[Sample] = []
        self.violations: list[str] = []
        self.quiet_times = 0
        self._console = console
        self._started = time.monotonic()

    @property
    def minute(self) -> float:
        """Minutes since the start."""
        return (time.monotonic() - self._started) / 60

    def run(self) -> None:
        """Round after round, until the time is over."""
        while self.minute < self.plan.minutes:
            with ThreadPoolExecutor(len(self.towns)) as pool:
                for done in [pool.submit(self._one_round, name, town) for name, town in self.towns.items()]:
                    done.result()
            self.quiet_times += 1
            claims = sum(town.claims for town in self.towns.values())
            deeds = sum(sum(town.deeds.values()) for town in self.towns.values())
            self._console.print(
                f"minute {self.minute:.0f}: quiet time {self.quiet_times}, {deeds} deeds so far, {claims} claims, "
                f"{len(self.violations)} violations",
                highlight=False,
            )

    def _one_round(self, name: str, town: SoakEnvironment) -> None:
        town.weather.worsen(_FAULTY)
        self._live(name, town)
        try:
            town.be_quiet()
        except Exception as error:
            self.violations.append(f"minute {self.minute:.0f}, {name}: {type(error).__name__}: {error}")
            self._console.print(f"VIOLATION {self.violations[-1]}", markup=False, highlight=False)
            if not isinstance(error, Violation | AssertionError):
                raise
        self._sample(name, town)

    def _live(self, name: str, town: SoakEnvironment) -> None:
        end = min(time.monotonic() + _ROUND_SECONDS, self._started + self.plan.minutes * 60)
        next_sample = next_kill = time.monotonic()
        while (now := time.monotonic()) < end:
            town.act()
            if now >= next_sample:
                self._sample(name, town)
                next_sample = now + _SAMPLE_SECONDS
            if now >= next_kill and self.plan.is_restless(name, self.minute):
                town.kill()
                next_kill = now + _KILL_SECONDS
            time.sleep(1 / self.plan.rate)

    def _sample(self, name: str, town: SoakEnvironment) -> None:
        process = town.arena.provisioner_process
        assert process is not None
        with suppress(OSError):
            rss, threads, descriptors = of_process(process.pid)
            self.samples.append(
                Sample(
                    minute=self.minute,
                    lane=name,
                    pid=process.pid,
                    rss_mib=rss,
                    threads=threads,
                    descriptors=descriptors,
                    claims=town.claims,
                    things=town.things,
                    cluster_requests=town.weather.requests[CLUSTER],
                    store_requests=town.weather.requests[STORE],
                )
            )

    def slopes(self) -> dict[str, float]:
        """Growth of the longest life of each town's provisioner, in MiB per hour, after it has warmed up."""
        found = {}
        for lane in self.towns:
            lives: dict[int, list[Sample]] = {}
            for each in self.samples:
                if each.lane == lane:
                    lives.setdefault(each.pid, []).append(each)
            slope = slope_of(max(lives.values(), key=len, default=[]), after=_WARM_UP)
            if slope is not None:
                found[lane] = slope
        return found


def report(soak: Soak, folder: Path, console: Console) -> None:
    """Writes the samples and the plot, and says what it came to."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps([each.as_json() for each in soak.samples], indent=0))
    plot(soak.samples, folder / "soak.png")
    for lane, town in soak.towns.items():
        last = [each for each in soak.samples if each.lane == lane][-1]
        console.print(
            f"{lane}: {dict(town.deeds)}; RSS {last.rss_mib:.1f} MiB, {last.threads} threads, "
            f"{last.descriptors} descriptors, {last.store_requests} requests to the store",
            highlight=False,
        )
    for lane, slope in soak.slopes().items():
        console.print(f"{lane}: RSS {slope:+.2f} MiB per hour after the warm-up", highlight=False)
    console.print(f"{folder / 'soak.png'}: every figure over time", highlight=False)
    console.print(f"quiet times: {soak.quiet_times}", highlight=False)
    console.print(f"violations: {len(soak.violations)}", highlight=False)


def parse(argv: Sequence[str]) -> tuple[Plan, Path]:
    """The command line."""
    parser = argparse.ArgumentParser(prog="nox -s soak --", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="how long; 60 by default")
    parser.add_argument("--rate", type=float, default=1.0, metavar="R", help="deeds per second and store; 1 by default")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of everything that is drawn")
    parser.add_argument("--store", action="append", default=[], choices=sorted(STORES), help="only this store")
    parser.add_argument("--output", type=Path, default=Path("soak"), metavar="DIR", help="for the samples and the plot")
    found = parser.parse_args(argv)
    if found.minutes <= 0 or found.rate <= 0:
        parser.error("--minutes and --rate must be more than 0")
    stores = found.store or sorted(STORES)
    return Plan(minutes=found.minutes, rate=found.rate, seed=found.seed, stores=stores), found.output


def main(argv: Sequence[str]) -> int:
    """Runs it; 1 where a promise was broken."""
    plan, folder = parse(argv)
    console = Console()
    console.print(f"{plan.minutes:g} minutes on {', '.join(plan.stores)}; seed {plan.seed}", highlight=False)
    with ExitStack() as stack:
        cluster = stack.enter_context(own_cluster())
        arenas = {name: stack.enter_context(arena(cluster, name)) for name in plan.stores}
        towns = {name: SoakEnvironment(made, random.Random(f"{plan.seed}/{name}")) for name, made in arenas.items()}
        for town in towns.values():
            town.settle()
        soak = Soak(plan, towns, console)
        try:
            soak.run()
        except KeyboardInterrupt:
            console.print("stopped; what was seen until then:")
        report(soak, folder, console)
    return 1 if soak.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
