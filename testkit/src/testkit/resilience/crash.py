"""Part "crash": the provisioner dies at every step of every flow, or loses an answer, or repeats a request there.

The steps are found by running a flow once; then it is run once for each of them. After each, an ordinary successor
gets time, and everything is checked from outside.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from testkit.resilience.faults import Fault, Interfere, Kill, Lose, Repeat, StaleKill, Steps
from testkit.resilience.flows import FLOWS, ChangeOfMind, Flow, Life
from testkit.resilience.proxied_environment import own_cluster, proxied_environment
from testkit.resilience.trials import Choice, Group, Trial, Violation, eventually, groups_by_store
from testkit.stores import STORES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from libbucket.testing.controlplane import Cluster
    from testkit.resilience.proxied_environment import ProxiedEnvironment

_SECONDS: Final = 60.0
_IDLE_SECONDS: Final = 0.4
"""Without a step: what comes after a claim was bound (an Event) has come."""
_PAIRS: Final = 6
"""How many pairs of points are drawn for each flow that is interrupted twice."""


class Crash:
    """The part."""

    name = "crash"
    guarantee = "A crash at any step neither loses a bucket nor leaks resources"

    def __init__(self, cluster: Callable[[], AbstractContextManager[Cluster]] = own_cluster) -> None:
        self._cluster = cluster

    def groups(self, choice: Choice) -> list[Group]:
        """One for each store."""
        return groups_by_store(self.name, STORES, choice, partial(self._open, choice))

    @contextmanager
    def _open(self, choice: Choice, name: str) -> Iterator[Iterable[Trial]]:
        with self._cluster() as cluster, proxied_environment(cluster, name) as made:
            yield _trials(made, choice)


def _trials(environment: ProxiedEnvironment, choice: Choice) -> Iterator[Trial]:
    for make in FLOWS:
        flow = make()
        prefix = f"crash/{environment.name}/{flow.name}"
        if choice.wants(f"{prefix}/"):
            yield from _sweeps(environment, flow, prefix, choice)


def _sweeps(environment: ProxiedEnvironment, flow: Flow, prefix: str, choice: Choice) -> Iterator[Trial]:
    """All trials of one flow: the first finds the steps, and the things that a bound claim has."""
    steps: list[str] = []

    def find_steps() -> str:
        steps[:] = _live(environment, flow, Steps())
        return f"{len(steps)} steps"

    yield Trial(seed=f"{prefix}/steps", expected="the flow goes through", run=find_steps)
    if not steps:
        find_steps()  # for a replay, which leaves the first trial out
    for word, fault in _faults(flow).items():
        if choice.faults and word not in choice.faults:
            continue
        first = 0 if fault is Kill else 1
        for at in choice.draw(f"{prefix}/{word}", range(first, len(steps) + 1)):
            yield _trial(environment, flow, prefix, ((word, at),))
    if not choice.faults or "twice" in choice.faults:
        yield from _twice(environment, flow, prefix, len(steps), choice)


def _faults(flow: Flow) -> dict[str, type[Fault]]:
    """By the word in a seed."""
    faults: dict[str, type[Fault]] = {"kill": Kill, "stale": StaleKill}
    if isinstance(flow, ChangeOfMind):
        return {**faults, "meanwhile": Interfere}
    return {**faults, "lose": Lose, "repeat": Repeat}


def _twice(environment: ProxiedEnvironment, flow: Flow, prefix: str, steps: int, choice: Choice) -> Iterator[Trial]:
    """Two crashes in one flow: a sample, since all pairs would be as many as the square."""
    chance = random.Random(f"{choice.chance}/{prefix}/twice")
    count = min(_PAIRS, choice.sample or _PAIRS)
    pairs = {(chance.randint(0, steps), chance.randint(0, steps)) for _ in range(count)}
    if choice.replay.startswith(f"{prefix}/kill@") and choice.replay.count("+kill@") == 1:
        one, other = choice.replay.removeprefix(f"{prefix}/kill@").split("+kill@")
        pairs = {(int(one), int(other))}
    for first, second in sorted(pairs):
        yield _trial(environment, flow, prefix, (("kill", first), ("kill", second)))


def _trial(environment: ProxiedEnvironment, flow: Flow, prefix: str, faults: tuple[tuple[str, int], ...]) -> Trial:
    words = "+".join(f"{word}@{at}" for word, at in faults)
    kinds = _faults(flow)

    def run() -> str:
        made = [kinds[word](at, lambda: None) for word, at in faults]
        _live(environment, flow, *made)
        reached = sum(each.happened.is_set() for each in made)
        return f"{reached} of {len(made)} reached"

    return Trial(seed=f"{prefix}/{words}", expected="quiet, whole, and nothing left", run=run)


def _live(environment: ProxiedEnvironment, flow: Flow, *injectors: Steps) -> list[str]:
    """One claim through one flow, with these faults one after another; gives the steps of the last."""
    environment.ensure_running()
    life = Life(environment, environment.new_name())
    try:
        flow.prepare(life)
        _interrupt(environment, flow, life, injectors)
        environment.ensure_running()
        eventually(lambda: _assert_over(flow, life), seconds=_SECONDS)
        eventually(lambda: flow.check(life), seconds=_SECONDS / 3)
        flow.clean_up(life)
    except Exception as error:
        for number, each in enumerate(injectors, start=1):
            error.add_note(f"steps of run {number}:\n  " + "\n  ".join(each.seen))
        if environment.provisioner_process is not None:
            log = environment.provisioner_process.log().splitlines()[-15:]
            error.add_note("the last provisioner's log ends with:\n  " + "\n  ".join(log))
        _leave_clean(environment, life)
        raise
    return injectors[-1].seen


def _leave_clean(environment: ProxiedEnvironment, life: Life) -> None:
    """Best effort after a violation: the next trial must not see unfinished work of this one."""
    environment.ensure_running()
    life.delete()
    with suppress(Violation):
        _wait(life.is_gone, seconds=10.0)


def _interrupt(environment: ProxiedEnvironment, flow: Flow, life: Life, injectors: tuple[Steps, ...]) -> None:
    go_on: Callable[[], None] = partial(flow.begin, life)
    for injector in injectors:
        if isinstance(injector, Kill):
            injector.act = environment.kill
        elif isinstance(injector, Interfere):
            injector.act = life.delete
        with environment.injecting(injector):
            go_on()
            _wait(partial(_is_done, environment, flow, life, injector))
            if isinstance(injector, Fault):
                injector.disarm()
        flow.was_interrupted(life)
        go_on = environment.ensure_running


def _is_done(environment: ProxiedEnvironment, flow: Flow, life: Life, injector: Steps) -> bool:
    """Whether the fault was injected, and the process has ended if that was the fault; or the flow has finished."""
    if isinstance(injector, Kill) and injector.happened.is_set():
        return environment.provisioner_process is None or not environment.provisioner_process.is_running
    return injector.idle_seconds > _IDLE_SECONDS and flow.is_past(life)


def _assert_over(flow: Flow, life: Life) -> None:
    if not flow.is_over(life):
        claim = life.environment.admin.find(life.environment.claim_path(life.name)) or {}
        raise Violation(f"the claim is not where it should be: {claim.get('status')}")


def _wait(is_so: Callable[[], bool], seconds: float = _SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise Violation(f"the flow was not over after {seconds:.0f} s")
        time.sleep(0.03)
