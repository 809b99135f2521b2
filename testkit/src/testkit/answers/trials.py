"""The trials of one store: every request of every flow, with every answer, once, three times, and all the time.

A trial is named by its seed, `answers/minio/provision/AddUser@1/403-AccessDenied/once`, which is all that a replay
needs. Knows no store.
"""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from testkit.answers import invariants
from testkit.answers.adapter import CANARY
from testkit.answers.flows import FLOWS, DeleteLocked, Ends, Flow, shared_bucket
from testkit.answers.injector import ALWAYS, Injection, Injector, Lag, render_generic
from testkit.answers.invariants import NEIGHBOUR_SECONDS, Evidence, Invariant
from testkit.answers.reactions import reaction
from testkit.answers.simulation import Simulation, logged
from testkit.answers.subject import Subject
from testkit.resilience.proxy import Instead, Request, proxy_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from testkit.answers.adapter import Adapter
    from testkit.answers.catalogue import Answer, Delay
    from testkit.answers.injector import Seen

REACTION: Final = "reaction"
TIMES: Final = {"once": 1, "thrice": 3, "always": ALWAYS}
FLAPPING: Final = "flapping"
LAGS: Final[Mapping[str, Callable[[Delay], Lag]]] = {
    "2-reads": lambda delay: Lag(delay=delay, requests=2),
    "20-reads": lambda delay: Lag(delay=delay, requests=20),
    "90-seconds": lambda delay: Lag(delay=delay, seconds=delay.seconds),
    FLAPPING: lambda delay: Lag(delay=delay, seconds=delay.seconds, flaps=True),
}
_OTHER_STORE: Final = "other-store"
_NEIGHBOURS: Final = ("same-store", _OTHER_STORE)
_HOUR: Final = 3600.0
_RESUMED: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a trial does.

    Attributes:
        flow: name of the flow.
        request: name of the request, or of the delay.
        ordinal: the first one that is answered otherwise, from 1.
        answer: name of the answer, or of the lag.
        times: a key of `TIMES`; `REACTION` for one answer and no further than that; "" for a delay.
    """

    flow: str
    request: str
    ordinal: int
    answer: str
    times: str

    def seed(self, store: str) -> str:
        """Its name."""
        parts = ["answers", store, self.flow, f"{self.request}@{self.ordinal}", self.answer, self.times]
        return "/".join(part for part in parts if part)

    @classmethod
    def parse(cls, seed: str) -> Case:
        """The case that a seed names."""
        _part, _store, flow, request, answer, *times = seed.split("/")
        name, _, ordinal = request.rpartition("@")
        return cls(flow=flow, request=name, ordinal=int(ordinal), answer=answer, times=times[0] if times else "")


@dataclass
class Environment:
    """What the trials of one process share: a running store, and a proxy before it."""

    adapter: Adapter
    injector: Injector
    url: str
    _count: itertools.count[int] = field(default_factory=itertools.count)

    @contextmanager
    def simulation(self) -> Iterator[Simulation]:
        """A new one, with what is logged."""
        with logged() as log:
            made = Simulation(self.adapter, self.injector, self.url, log)
            self._simulation = made
            yield made

    def next_name(self) -> str:
        """For a claim."""
        return f"claim-{next(self._count)}"

    def seconds(self) -> float:
        """Of the turned clock of the simulation that runs."""
        return self._simulation.now if self._simulation is not None else 0.0

    _simulation: Simulation | None = None


@contextmanager
def environment(adapter: Adapter) -> Iterator[Environment]:
    """Starts the proxy, where there is a server."""
    with ExitStack() as stack:

        def render(answer: Answer, request: Request) -> Instead:
            return render_generic(answer, CANARY) or adapter.render(answer, request)

        made: Environment
        injector = Injector(adapter, render, lambda: made.seconds())  # noqa: PLW0108 - made later
        url = ""
        adapter.attach(injector)
        if adapter.upstream:
            proxy = stack.enter_context(proxy_before("answers", adapter.upstream))
            proxy.injector, url = injector, proxy.url
        made = Environment(adapter, injector, url)
        yield made


def flows(adapter: Adapter) -> list[type[Flow]]:
    """Those that the store can have."""
    return [each for each in FLOWS if adapter.locks or each is not DeleteLocked]


def record(of: Environment, flow: type[Flow]) -> list[Seen]:
    """The requests that a flow sends where nothing hinders it.

    Raises:
        AssertionError: it does not come to its end.
    """
    with of.simulation() as simulation:
        made = flow()
        subject = _prepared(of, simulation, made)
        of.injector.arm()
        made.start(subject)
        made.meanwhile(subject)
        ended = simulation.run(made.horizon * 2 + of.adapter.settling, until=lambda: made.is_done(subject))
        assert ended, f"flow {made.name} does not end: {subject.reason}: {subject.message}"
        seen = list(of.injector.seen)
        _remove(subject)
        return seen


def _prepared(of: Environment, simulation: Simulation, flow: Flow) -> Subject:
    name = of.next_name()
    of.injector.reset(target=f"shop/{name}")
    return flow.prepare(simulation, name)


def _remove(subject: Subject) -> None:
    bucket = subject.bucket
    subject.simulation.delete_claim(subject.key)
    subject.simulation.run(2 * _HOUR + subject.simulation.adapter.settling, until=lambda: subject.is_gone)
    administrator = subject.simulation.adapter.backend.administrator
    if bucket and bucket != shared_bucket(subject.simulation) and administrator.bucket_exists(bucket):
        administrator.purge_bucket(bucket)


def cases(of: Environment) -> list[Case]:
    """All of the store, in the order of the flows."""
    found: list[Case] = []
    for flow in flows(of.adapter):
        seen = record(of, flow)
        counts = Counter(each.name for each in seen)
        for name, count in counts.items():
            for ordinal in sorted({1, count}):
                for answer in of.adapter.catalogue.to(name).values():
                    found += [
                        Case(flow=flow.name, request=name, ordinal=ordinal, answer=answer.name, times=times)
                        for times in _times_of(answer, ordinal, takes_real_time=bool(of.adapter.upstream))
                    ]
        for delay in of.adapter.catalogue.delays:
            if delay.write in counts and any(read in counts for read in delay.reads):
                lags = [lag for lag in LAGS if delay.flaps or lag != FLAPPING]
                found += [Case(flow=flow.name, request=delay.name, ordinal=1, answer=lag, times="") for lag in lags]
    return found


def _times_of(answer: Answer, ordinal: int, *, takes_real_time: bool) -> tuple[str, ...]:
    """What takes a time limit of a real clock for each try is tried once only."""
    is_slow = answer.kind.is_slow and takes_real_time
    return ("once",) if ordinal > 1 or is_slow else tuple(TIMES)


def sample(all_cases: Sequence[Case], limit: int) -> list[Case]:
    """At most so many, in which each answer and each request of each flow occurs if there is room.

    Rounds: each takes one trial of each request of each flow, with an answer that was chosen least often so far.
    """
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in all_cases:
        groups.setdefault((case.flow, case.request), []).append(case)
    chosen: list[Case] = []
    answers: Counter[str] = Counter()
    times: Counter[str] = Counter()
    while len(chosen) < limit and any(groups.values()):
        for left in groups.values():
            if left and len(chosen) < limit:
                case = min(left, key=lambda one: (answers[one.answer], times[one.times]))
                left.remove(case)
                chosen.append(case)
                answers[case.answer] += 1
                times[case.times] += 1
    return chosen


def react(of: Environment, case: Case) -> tuple[list[invariants.Broken], str]:
    """Gives an answer once, as far as the reconcile that meets it; gives the violations, and the reaction."""
    with of.simulation() as simulation:
        flow, subject, seen = _begun(of, simulation, replace(case, times="once"))
        since = len(simulation.history)
        flow.start(subject)
        simulation.run(2 * flow.horizon, until=lambda: bool(of.injector.injected) or flow.is_done(subject))
        invariants.check_while_answered(seen)
        invariants.check_leaks(seen)
        found = reaction(seen, since)
        of.injector.disarm()
        _remove(subject)
        return seen.broken, found


def _begun(of: Environment, simulation: Simulation, case: Case) -> tuple[Flow, Subject, Evidence]:
    """A claim in the state in which the flow of a case starts, with its answers armed."""
    (flow_class,) = [each for each in FLOWS if each.name == case.flow]
    flow = flow_class()
    subject = _prepared(of, simulation, flow)
    seen = Evidence(
        flow=flow,
        subject=subject,
        answer=_answer(of, case),
        injected=TIMES.get(case.times, 0),
        held=subject.credentials,
    )
    _arm(of, case, seen.answer)
    return flow, subject, seen


def run(of: Environment, case: Case) -> list[invariants.Broken]:
    """Runs a trial; gives its violations."""
    if case.times == REACTION:
        return react(of, case)[0]
    with of.simulation() as simulation:
        before = of.adapter.others()
        flow, subject, seen = _begun(of, simulation, case)
        flow.start(subject)
        flow.meanwhile(subject)
        simulation.run(120.0, until=lambda: flow.is_done(subject))
        invariants.check_revoked(seen)
        _check_neighbours(of, seen, _NEIGHBOURS if case.times == "always" else _NEIGHBOURS[:1])
        seconds = max(_HOUR, flow.horizon) if case.times == "always" else 600.0
        simulation.run(seconds + _settling(of, flow), until=lambda: flow.is_done(subject))
        invariants.check_while_answered(seen)
        invariants.check_revoked(seen)
        if case.times == "always" and not flow.begins_bound and not flow.is_done(subject):
            _give_up(seen)
        else:
            of.injector.disarm()
            simulation.run(flow.horizon + _settling(of, flow) + _HOUR, until=lambda: flow.is_done(subject))
            flow.resume(subject)
            simulation.run(_RESUMED, until=lambda: flow.is_done(subject) and simulation.is_idle(subject.key))
            invariants.check_afterwards(seen)
        _check_end(seen)
        invariants.check_leaks(seen)
        if not subject.is_gone:
            _clean_up(subject)
        invariants.check_others(seen, before, of.adapter.others())
        return seen.broken


def _settling(of: Environment, flow: Flow) -> float:
    """Seconds that the end of a flow may wait for the end of credentials."""
    return 0.0 if flow.ends is Ends.BOUND else of.adapter.settling


def _answer(of: Environment, case: Case) -> Answer | None:
    return of.adapter.catalogue.to(case.request).get(case.answer)


def _arm(of: Environment, case: Case, answer: Answer | None) -> None:
    if case.times:
        assert answer is not None, f"there is no answer {case.answer}"
        of.injector.arm(Injection(request=case.request, first=case.ordinal, times=TIMES[case.times], answer=answer))
        return
    (delay,) = [each for each in of.adapter.catalogue.delays if each.name == case.request]
    of.injector.arm(lag=LAGS[case.answer](delay))


def _check_neighbours(of: Environment, seen: Evidence, classes: Sequence[str]) -> None:
    """Others come and go while the claim under test is answered otherwise, or right after it was."""
    simulation = seen.subject.simulation
    for storage_class in classes:
        simulation.create_class(storage_class, direct=storage_class == _OTHER_STORE)
        name = of.next_name()
        key = simulation.create_claim(name, namespace="office", storage_class=storage_class, generateBucketName="mail")
        other = Subject(simulation, key)
        seconds = NEIGHBOUR_SECONDS + of.adapter.starting
        bound = simulation.run(seconds, until=lambda other=other: other.is_bound)  # type: ignore[misc]
        invariants.check_neighbour(seen, f"a claim of the {storage_class} binding", seconds, in_time=bound)
        simulation.delete_claim(key)
        seconds = NEIGHBOUR_SECONDS + of.adapter.settling
        since = len(simulation.history)
        gone = simulation.run(seconds, until=lambda other=other: other.is_gone)  # type: ignore[misc]
        # A simulation has one worker, which may have been held by a call that was in progress: not so elsewhere.
        held = sum(each.took for each in simulation.history[since:] if each.key != key)
        gone = gone or simulation.run(held, until=lambda other=other: other.is_gone)  # type: ignore[misc]
        seconds += held
        invariants.check_neighbour(seen, f"the deletion of a claim of the {storage_class}", seconds, in_time=gone)
        if not gone:
            _remove(other)


def _give_up(seen: Evidence) -> None:
    """Its author deletes a claim that was never bound, while it is still answered so."""
    subject = seen.subject
    subject.simulation.delete_claim(subject.key)
    subject.simulation.run(_HOUR, until=lambda: subject.is_gone)
    if not subject.is_gone and subject.simulation.claim(subject.key) is not None:
        seen.check(Invariant.ENDS, subject.message, "a deletion that is blocked says nothing")
    invariants.check_while_answered(seen)
    subject.simulation.injector.disarm()
    subject.simulation.run(2 * _HOUR + subject.simulation.adapter.settling, until=lambda: subject.is_gone)


def _check_end(seen: Evidence) -> None:
    """The claim is deleted, and nothing of it is left."""
    subject = seen.subject
    held, bucket = subject.credentials or seen.held, subject.bucket or _known_bucket(seen)
    retained = seen.flow.ends is Ends.RETAINED or bucket == shared_bucket(subject.simulation)
    if not subject.is_gone:
        subject.simulation.delete_claim(subject.key)
        subject.simulation.run(2 * _HOUR + subject.simulation.adapter.settling, until=lambda: subject.is_gone)
    seen.check(Invariant.ENDS, subject.is_gone, f"can't be deleted: {subject.reason}: {subject.message}")
    invariants.check_gone(seen, bucket, held, retained=retained)


def _known_bucket(seen: Evidence) -> str:
    return seen.held.endpoint.bucket_name if seen.held is not None else ""


def _clean_up(subject: Subject) -> None:
    record = subject.record
    if record is None:
        return
    administrator = subject.simulation.adapter.backend.administrator
    administrator.remove_identity(record)
    if record.bucket_name and record.bucket_name != shared_bucket(subject.simulation):
        administrator.purge_bucket(record.bucket_name)
