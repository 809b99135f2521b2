"""What must hold in every trial of the sweep: nine invariants, each a sentence and a check. Knows no store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from libbucket.errors import Reason
from testkit.answers.catalogue import ANY, OK, Kind
from testkit.answers.flows import Ends

if TYPE_CHECKING:
    from testkit.answers.catalogue import Answer
    from testkit.answers.flows import Flow
    from testkit.answers.subject import Credentials, Subject

MOST_KEYS: Final = 2
REQUESTS_PER_MINUTE: Final = 240
"""A claim's requests: a reconcile sends some ten, and in its first minute a claim is retried six or seven times."""
REQUESTS_PER_HOUR: Final = 2400
"""A store that is down is probed every 15 to 30 s: 160 times in an hour, if it has one claim."""
NEIGHBOUR_SECONDS: Final = 30.0
NAMES_WHAT: Final = frozenset({"AccessDenied", "StoreRefused", "QuotaExceeded"})
"""Reasons whose message has the code of the answer, or the permission that is missing."""


class Invariant(StrEnum):
    """By number, as in `docs/testing.md`."""

    NEIGHBOURS = "1: other claims bind and are deleted in the normal time"
    CREDENTIALS = "2: a bound claim's credentials work, and no working key is replaced, disabled or removed"
    KEYS = "3: a claim has at most two keys at any time, and makes at most two in an hour in which it is stuck"
    TERMINAL = "4: a claim is Failed only where the answer proves that no retry can help"
    MESSAGES = "5: reason and message fit the answer, the log has its request id, and nothing repeats its body"
    ENDS = "6: a claim can be deleted, and says what blocks that; once answers are normal, the flow ends"
    REVOKED = "7: when revoke or delete returned, the credentials are refused"
    BOUNDED = "8: retries are bounded, and so is the time that a call takes"
    OTHERS = "9: nothing of others is touched"


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A violation."""

    invariant: Invariant
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


@dataclass
class Evidence:
    """What a trial has seen so far.

    Attributes:
        flow: which flow.
        subject: the claim under test.
        answer: how requests were answered; None for delayed effects.
        injected: how many requests are answered so.
        held: the credentials that the claim had when the flow started.
        broken: violations so far.
    """

    flow: Flow
    subject: Subject
    answer: Answer | None
    injected: int = 0
    held: Credentials | None = None
    broken: list[Broken] = field(default_factory=list)

    def check(self, invariant: Invariant, holds: object, what: str) -> None:
        """Notes a violation, unless it holds."""
        if not holds:
            self.broken.append(Broken(invariant=invariant, what=what))


def check_while_answered(seen: Evidence) -> None:
    """While the answers last, and the claim has been retried for as long as the trial wants."""
    subject, answer = seen.subject, seen.answer
    is_done = seen.flow.is_done(subject)
    _check_keys(seen)
    _check_bounds(seen)
    if seen.flow.keeps_credentials and seen.held is not None:
        _check_kept(seen, "while it was answered so")
    if (
        answer is None
        or is_done
        or not subject.simulation.injector.injected
        or subject.simulation.claim(subject.key) is None
        or _are_over(seen)
    ):
        return
    _check_terminal(seen, answer)
    _check_reason(seen, answer)


def _are_over(seen: Evidence) -> bool:
    """Whether the store has answered as always since the last of these answers: then the reason fits what came later.

    A client may retry within one call, as google-auth does with another token.
    """
    simulation = seen.subject.simulation
    sent = list(simulation.injector.seen)
    last = max(number for number, each in enumerate(sent) if each.injected)
    again = any(each.name == sent[last].name and each.status and not each.injected for each in sent[last + 1 :])
    later = any(one.key == seen.subject.key and one.at > sent[last].at for one in simulation.history)
    return 0 < seen.injected <= sum(each.injected for each in sent) and (again or later)


def check_afterwards(seen: Evidence) -> None:
    """Once answers were normal for long enough."""
    subject, flow = seen.subject, seen.flow
    if subject.simulation.phase(subject.key) == "Failed":
        seen.check(Invariant.TERMINAL, _may_fail(seen), f"Failed with {subject.reason}: {subject.message}")
        return
    if not flow.is_done(subject):
        seen.check(Invariant.ENDS, holds=False, what=f"the flow does not end: {subject.reason}: {subject.message}")
        return
    if flow.ends is Ends.BOUND:
        seen.check(Invariant.CREDENTIALS, subject.works(), "the claim is Bound, and its credentials do not work")
        if flow.keeps_credentials:
            _check_kept(seen, "in the end")


def check_revoked(seen: Evidence) -> None:
    """In the very moment in which the claim is gone, when a removal may not be seen everywhere yet."""
    subject, simulation = seen.subject, seen.subject.simulation
    if not subject.is_gone:
        return
    is_early = simulation.injector.lagging in simulation.adapter.gone_keys
    seen.check(Invariant.REVOKED, not is_early, "the claim is gone, and its credentials are not removed everywhere yet")
    if seen.held is not None:
        seen.check(Invariant.REVOKED, subject.is_refused(seen.held), "the claim is gone, and its credentials work")


def check_gone(seen: Evidence, bucket: str, held: Credentials | None, *, retained: bool) -> None:
    """After the deletion of the claim has ended."""
    subject, backend = seen.subject, seen.subject.simulation.adapter.backend
    if not subject.is_gone:
        return
    if held is not None:
        seen.check(Invariant.REVOKED, subject.is_refused(held), "the credentials of a claim that is gone still work")
    if bucket and not retained:
        seen.check(Invariant.ENDS, not backend.administrator.bucket_exists(bucket), f"bucket {bucket} was left behind")


def check_others(seen: Evidence, before: object, after: object) -> None:
    """What bystanders have, before and after."""
    seen.check(Invariant.OTHERS, before == after, f"before {before}, after {after}")


def check_leaks(seen: Evidence) -> None:
    """What anybody can read."""
    leaks = seen.subject.leaks()
    seen.check(Invariant.MESSAGES, not leaks, f"{' and '.join(leaks)} repeat the body of the answer")


def check_neighbour(seen: Evidence, what: str, seconds: float, *, in_time: bool) -> None:
    """Another claim was bound or deleted."""
    seen.check(Invariant.NEIGHBOURS, in_time, f"{what} took more than {seconds:.0f} s")


def _check_kept(seen: Evidence, when: str) -> None:
    subject, held = seen.subject, seen.held
    assert held is not None
    if seen.answer is not None and seen.answer.proves_gone and seen.injected > 1:
        return  # the identity system itself says so, again and again: it has no working credentials
    now = subject.simulation.secret(subject.key)
    seen.check(Invariant.CREDENTIALS, now == held.secret, f"the Secret was changed {when}")
    seen.check(Invariant.CREDENTIALS, subject.works(held), f"the credentials that it had no longer work {when}")


def _check_keys(seen: Evidence) -> None:
    simulation = seen.subject.simulation
    made = simulation.injector.count(*simulation.adapter.new_keys, succeeded=True)
    seen.check(Invariant.KEYS, made <= MOST_KEYS, f"{made} keys were made while the claim was stuck")
    record = seen.subject.record
    if record is not None:
        found = simulation.adapter.keys_of(record)
        seen.check(Invariant.KEYS, found <= MOST_KEYS, f"the claim has {found} keys")


def _check_bounds(seen: Evidence) -> None:
    simulation, key = seen.subject.simulation, seen.subject.key
    minutes = Counter(int(each.at // 60) for each in simulation.injector.seen)
    busiest = max(minutes.values(), default=0)
    seen.check(Invariant.BOUNDED, busiest <= REQUESTS_PER_MINUTE, f"{busiest} requests in one minute")
    hours = Counter(int(each.at // 3600) for each in simulation.injector.seen)
    busiest = max(hours.values(), default=0)
    seen.check(Invariant.BOUNDED, busiest <= REQUESTS_PER_HOUR, f"{busiest} requests in one hour")
    longest = max((one.took for one in simulation.history if one.key == key), default=0.0)
    limit = simulation.adapter.longest_call
    seen.check(Invariant.BOUNDED, longest <= limit, f"a reconcile took {longest:.1f} s")


def _check_terminal(seen: Evidence, answer: Answer) -> None:
    failed = seen.subject.is_stalled
    seen.check(
        Invariant.TERMINAL,
        not failed or answer.terminal,
        f"Failed after {answer.name}: {seen.subject.reason}: {seen.subject.message}",
    )


def _check_reason(seen: Evidence, answer: Answer) -> None:
    subject, log = seen.subject, seen.subject.simulation.log
    reason, message = subject.reason, subject.message
    allowed = answer.reasons
    is_quiet = reason == "Bound" and (OK in allowed or (answer.is_outage and seen.flow.begins_bound))
    has_got_over = OK in allowed and reason == Reason.NOT_READY and _went_on(seen)
    fits = ANY in allowed or reason in allowed or is_quiet or has_got_over  # claims that serve say of no outage
    seen.check(Invariant.MESSAGES, fits, f"after {answer.name} the reason is {reason}: {message}")
    seen.check(Invariant.MESSAGES, message, "the condition says nothing")
    if answer.kind is Kind.CODE and reason != "Bound" and not has_got_over:
        # Of the answer, or of the store's own to a later request, where it was that one which decided.
        simulation = subject.simulation
        has_id = any(
            each.injected and each.name not in simulation.adapter.without_ids for each in simulation.injector.seen
        )
        ids = {entry["request_id"] for entry in log.entries if "request_id" in entry} - {"none"}
        seen.check(Invariant.MESSAGES, ids or not has_id, "the log does not have the request id of the answer")
        names_it = answer.code in message or "permission" in message or reason not in NAMES_WHAT
        seen.check(Invariant.MESSAGES, names_it, f"the message does not say what was refused: {message}")


def _went_on(seen: Evidence) -> bool:
    """Whether the call went on after the last of these answers: what the claim waits for then is something else."""
    sent = list(seen.subject.simulation.injector.seen)
    last = max(number for number, each in enumerate(sent) if each.injected)
    return any(200 <= each.status < 300 for each in sent[last + 1 :])


def _may_fail(seen: Evidence) -> bool:
    return seen.answer is not None and seen.answer.terminal
