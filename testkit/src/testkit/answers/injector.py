"""Answers some requests of one claim in the server's place: the proxy's `FaultInjector` of the sweep.

Records every request by its name. Knows when the claim under test is being reconciled, since the core runs on one
thread: no other claim is ever answered otherwise. Knows no store.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from testkit.answers.adapter import REQUEST_ID
from testkit.answers.catalogue import Answer, Kind
from testkit.resilience.proxy import FaultInjector, Instead, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.answers.adapter import Adapter
    from testkit.answers.catalogue import Delay
    from testkit.resilience.proxy import Request

ALWAYS: Final = 1_000_000

PAGE: Final = b"<html><head><title>Gateway</title></head><body>%s</body></html>"
ELSEWHERE: Final = "http://127.0.0.1:9/elsewhere"


@dataclass(frozen=True, kw_only=True)
class Injection:
    """Which requests are answered otherwise.

    Attributes:
        request: by name.
        first: the first of them, counted from 1 after arming.
        times: how many in a row.
        answer: how.
    """

    request: str
    first: int
    times: int
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Lag:
    """A delayed effect.

    Attributes:
        delay: which.
        requests: for how many reads; 0 for no bound.
        seconds: for how long after the write; 0 for no bound.
        flaps: whether every other read sees the effect: two nodes, one of which lags.
    """

    delay: Delay
    requests: int = 0
    seconds: float = 0.0
    flaps: bool = False


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request of the claim under test.

    Attributes:
        name: of the request.
        at: seconds of the turned clock.
        injected: whether it was answered otherwise.
        status: of the server's answer; 0 while there is none.
    """

    name: str
    at: float
    injected: bool
    status: int = 0


class Injector(FaultInjector):
    """The injector.

    Args:
        adapter: names requests, and what they are about.
        render: an answer in the store's form.
        clock: seconds of the turned clock.

    Attributes:
        active: key of the claim that is being reconciled.
        target: key of the claim under test.
        seen: its requests since `arm` or `reset`.
        held: seconds for which its answers were held back before a real server; 0 where a wire turns the clock.
    """

    def __init__(
        self,
        adapter: Adapter,
        render: Callable[[Answer, Request], Instead],
        clock: Callable[[], float],
    ) -> None:
        self._adapter, self._render, self._clock = adapter, render, clock
        self._lock = threading.Lock()
        self._released = threading.Event()
        self.reset()

    def reset(self, target: str = "") -> None:
        """Begins anew, with nothing armed."""
        self.active, self.target = "", target
        self.seen: list[Seen] = []
        self.held = 0.0
        self._count: Counter[str] = Counter()
        self._injection: Injection | None = None
        self._lag: Lag | None = None
        self._written: float | None = None
        self._subject = ""
        self._stale_reads = 0
        self._before: dict[tuple[str, str, str], Instead] = {}

    def arm(self, injection: Injection | None = None, lag: Lag | None = None) -> None:
        """From now on, requests are counted from 1, and answered so."""
        with self._lock:
            self._count.clear()
            self.seen.clear()
            self._injection, self._lag = injection, lag

    def disarm(self) -> None:
        """Answers are normal again."""
        with self._lock:
            self._injection = self._lag = None

    @property
    def injected(self) -> int:
        """How many requests were answered otherwise since `arm`."""
        return sum(each.injected for each in self.seen)

    @property
    def lagging(self) -> str:
        """Name of the write whose removals are not seen by all reads yet; "" where there is none."""
        with self._lock:
            lag = self._lag
            if lag is None or not lag.delay.hides_removal or self._written is None or self._is_over(lag):
                return ""
            return lag.delay.write

    def count(self, *names: str, succeeded: bool = False) -> int:
        """How many requests with one of these names reached the server since `arm`."""
        return sum(
            each.name in names and not each.injected and (not succeeded or 200 <= each.status < 300)
            for each in self.seen
        )

    def before(self, request: Request) -> Verdict | Instead:
        name = self._adapter.request_name(request)
        with self._lock:
            if self.active != self.target:
                return Verdict.PASS
            self._count[name] += 1
            answer = self._chosen(name)
            stale = self._stale(name, request) if answer is None else None
            self.seen.append(Seen(name=name, at=self._clock(), injected=answer is not None or stale is not None))
        if answer is None:
            return stale or Verdict.PASS
        if answer.kind is Kind.RESET_BEFORE:
            return Verdict.RESET
        if answer.kind in {Kind.RESET_AFTER, Kind.LATE}:
            return Verdict.PASS  # see `after`
        return self._render(answer, request)

    def after(self, request: Request, status: int) -> Verdict:
        name = self._adapter.request_name(request)
        with self._lock:
            if self.active != self.target or not self.seen:
                return Verdict.PASS
            last = self.seen[-1]
            self.seen[-1] = Seen(name=last.name, at=last.at, injected=last.injected, status=status)
            if self._lag is not None and name == self._lag.delay.write and 200 <= status < 300:
                self._written, self._stale_reads = self._clock(), 0
                self._subject = self._adapter.subject(request)
            answer = self._injection.answer if self._injection is not None and last.injected else None
        if answer is not None and answer.kind is Kind.LATE:
            self.held += self._adapter.late
            self._released.wait(self._adapter.late)
            return Verdict.DROP
        return Verdict.RESET if answer is not None and answer.kind is Kind.RESET_AFTER else Verdict.PASS

    def passed_back(self, request: Request, answer: Instead) -> None:
        """Keeps what a read was answered before the write, for nodes that lag behind."""
        with self._lock:
            if self._lag is None or self.active != self.target or self._written is not None:
                return
            name = self._adapter.request_name(request)
            if name in self._lag.delay.reads:
                self._before[name, request.target, request.signer] = answer

    def _chosen(self, name: str) -> Answer | None:
        injection = self._injection
        if injection is None or injection.request != name:
            return None
        at = self._count[name] - injection.first
        return injection.answer if 0 <= at < injection.times else None

    def _is_over(self, lag: Lag) -> bool:
        is_read = bool(lag.requests) and self._stale_reads > lag.requests
        since = self._clock() - (self._written or 0.0)
        return is_read or (lag.seconds > 0 and since > lag.seconds)

    def _stale(self, name: str, request: Request) -> Instead | None:
        lag = self._lag
        if (
            lag is None
            or self._written is None
            or name not in lag.delay.reads
            or not self._adapter.is_about(request, self._subject)
        ):
            return None
        self._stale_reads += 1
        if self._is_over(lag) or (lag.flaps and self._stale_reads % 2 == 0):
            return None
        known = self._before.get((name, request.target, request.signer))
        if lag.delay.body:
            body = lag.delay.body.encode()
            headers = {"Content-Type": "application/json", "x-amz-request-id": REQUEST_ID}
            return Instead(status=lag.delay.status, headers=headers, body=body)
        if known is not None or not lag.delay.status:
            return known
        return self._render(code_answer(lag.delay.status, lag.delay.code), request)


def code_answer(status: int, code: str) -> Answer:
    """An error code, for rendering only."""
    return Answer(
        name="",
        kind=Kind.CODE,
        status=status,
        code=code,
        requests=frozenset(),
        reasons=frozenset(),
        source="see the delay",
    )


def render_generic(answer: Answer, canary: str) -> Instead | None:
    """Answers that are the same for every store; None for codes, which the store's adapter writes."""
    if answer.kind is Kind.PAGE:
        return Instead(status=answer.status, headers={"Content-Type": "text/html"}, body=PAGE % canary.encode())
    if answer.kind is Kind.REDIRECT:
        return Instead(status=answer.status, headers={"Location": ELSEWHERE})
    if answer.kind is Kind.EMPTY:
        return Instead(status=answer.status)
    if answer.kind is Kind.TRUNCATED:
        body = b'<?xml version="1.0"?><Trunc' + canary.encode()
        return Instead(status=200, headers={"Content-Type": "application/xml"}, body=body, missing=100)
    if answer.kind is Kind.DRIP:
        return Instead(status=200, headers={"Content-Type": "application/xml"}, body=b" " * 1000, pause=0.1)
    return None
