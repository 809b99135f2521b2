"""Runs soak environments on all stores at once, and measures the provisioners: `nox -s soak -- --minutes 60`.

Random claims, edits, deletions, faults and restarts, at a given rate. In turns: some minutes of faults, then none,
while every guarantee is checked. Half of the provisioners are killed again and again in the first half of the time, the
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
from testkit.resilience.proxied_environment import CLUSTER, STORE, own_cluster, proxied_environment
from testkit.resilience.soak_environment import SoakEnvironment
from testkit.resilience.trials import Violation
from testkit.stores import STORES

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUND_SECONDS: Final = 90.0
_SAMPLE_SECONDS: Final = 5.0
_FAULTY: Final = 0.02
"""Share of the requests that fail while faults are injected."""
_KILL_SECONDS: Final = 40.0
_WARM_UP: Final = 5.0
"""Minutes."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The command line's choices.

    Attributes:
        minutes: how long.
        rate: operations per second and environment.
        seed: of everything that is drawn.
        stores: one environment each.
    """

    minutes: float
    rate: float
    seed: int
    stores: Sequence[str]

    def is_restless(self, group: str, minute: float) -> bool:
        """Whether this environment's provisioner is killed now and then."""
        is_first = list(self.stores).index(group) % 2 == 0
        return is_first == (minute < self.minutes / 2)


class Soak:
    """The environments, and what was seen of them."""

    def __init__(self, plan: Plan, environments: dict[str, SoakEnvironment], console: Console) -> None:
        self.plan = plan
        self.environments = environments
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
            with ThreadPoolExecutor(len(self.environments)) as pool:
                for done in [
                    pool.submit(self._one_round, name, environment) for name, environment in self.environments.items()
                ]:
                    done.result()
            self.quiet_times += 1
            claims = sum(environment.claims for environment in self.environments.values())
            operations = sum(sum(environment.operations.values()) for environment in self.environments.values())
            self._console.print(
                f"minute {self.minute:.0f}: check {self.quiet_times}, {operations} operations so far, "
                f"{claims} claims, {len(self.violations)} violations",
                highlight=False,
            )

    def _one_round(self, name: str, environment: SoakEnvironment) -> None:
        environment.faults.worsen(_FAULTY)
        self._live(name, environment)
        try:
            environment.be_quiet()
        except Exception as error:
            self.violations.append(f"minute {self.minute:.0f}, {name}: {type(error).__name__}: {error}")
            self._console.print(f"VIOLATION {self.violations[-1]}", markup=False, highlight=False)
            if not isinstance(error, Violation | AssertionError):
                raise
        self._sample(name, environment)

    def _live(self, name: str, environment: SoakEnvironment) -> None:
        end = min(time.monotonic() + _ROUND_SECONDS, self._started + self.plan.minutes * 60)
        next_sample = next_kill = time.monotonic()
        while (now := time.monotonic()) < end:
            environment.act()
            if now >= next_sample:
                self._sample(name, environment)
                next_sample = now + _SAMPLE_SECONDS
            if now >= next_kill and self.plan.is_restless(name, self.minute):
                environment.kill()
                next_kill = now + _KILL_SECONDS
            time.sleep(1 / self.plan.rate)

    def _sample(self, name: str, environment: SoakEnvironment) -> None:
        process = environment.proxied.provisioner_process
        assert process is not None
        with suppress(OSError):
            rss, threads, descriptors = of_process(process.pid)
            self.samples.append(
                Sample(
                    minute=self.minute,
                    group=name,
                    pid=process.pid,
                    rss_mib=rss,
                    threads=threads,
                    descriptors=descriptors,
                    claims=environment.claims,
                    things=environment.things,
                    cluster_requests=environment.faults.requests[CLUSTER],
                    store_requests=environment.faults.requests[STORE],
                )
            )

    def slopes(self) -> dict[str, float]:
        """Growth of the longest life of each environment's provisioner, in MiB per hour, after it has warmed up."""
        found = {}
        for group in self.environments:
            lives: dict[int, list[Sample]] = {}
            for each in self.samples:
                if each.group == group:
                    lives.setdefault(each.pid, []).append(each)
            slope = slope_of(max(lives.values(), key=len, default=[]), after=_WARM_UP)
            if slope is not None:
                found[group] = slope
        return found


def report(soak: Soak, folder: Path, console: Console) -> None:
    """Writes the samples and the plot, and prints a summary."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps([each.as_json() for each in soak.samples], indent=0))
    plot(soak.samples, folder / "soak.png")
    for group, environment in soak.environments.items():
        last = [each for each in soak.samples if each.group == group][-1]
        console.print(
            f"{group}: {dict(environment.operations)}; RSS {last.rss_mib:.1f} MiB, {last.threads} threads, "
            f"{last.descriptors} descriptors, {last.store_requests} requests to the store",
            highlight=False,
        )
    for group, slope in soak.slopes().items():
        console.print(f"{group}: RSS {slope:+.2f} MiB per hour after the warm-up", highlight=False)
    console.print(f"{folder / 'soak.png'}: every figure over time", highlight=False)
    console.print(f"checks: {soak.quiet_times}", highlight=False)
    console.print(f"violations: {len(soak.violations)}", highlight=False)


def parse(argv: Sequence[str]) -> tuple[Plan, Path]:
    """The command line."""
    parser = argparse.ArgumentParser(prog="nox -s soak --", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="how long; 60 by default")
    parser.add_argument(
        "--rate", type=float, default=1.0, metavar="R", help="operations per second and store; 1 by default"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of everything that is drawn")
    parser.add_argument("--store", action="append", default=[], choices=sorted(STORES), help="only this store")
    parser.add_argument("--output", type=Path, default=Path("soak"), metavar="DIR", help="for the samples and the plot")
    found = parser.parse_args(argv)
    if found.minutes <= 0 or found.rate <= 0:
        parser.error("--minutes and --rate must be more than 0")
    stores = found.store or sorted(STORES)
    return Plan(minutes=found.minutes, rate=found.rate, seed=found.seed, stores=stores), found.output


def main(argv: Sequence[str]) -> int:
    """Runs it; 1 where a guarantee was violated."""
    plan, folder = parse(argv)
    console = Console()
    console.print(f"{plan.minutes:g} minutes on {', '.join(plan.stores)}; seed {plan.seed}", highlight=False)
    with ExitStack() as stack:
        cluster = stack.enter_context(own_cluster())
        proxied = {name: stack.enter_context(proxied_environment(cluster, name)) for name in plan.stores}
        environments = {
            name: SoakEnvironment(made, random.Random(f"{plan.seed}/{name}")) for name, made in proxied.items()
        }
        for environment in environments.values():
            environment.settle()
        soak = Soak(plan, environments, console)
        try:
            soak.run()
        except KeyboardInterrupt:
            console.print("stopped; what was seen until then:")
        report(soak, folder, console)
    return 1 if soak.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
