"""The answers of one store: codes from its data file, and what any server or proxy can do to a request.

Reads `<store>.toml`: one table for each error code, with the source of the fact, and the requests that a provisioner
goes on without. Knows no store and sends nothing.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from libbucket.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ANY: Final = "*"
OK: Final = "ok"
"""In `reasons`: the flow may reach its end in spite of the answer."""

UNKNOWN_STATUSES: Final = (400, 403, 404, 409, 412, 422, 500, 501, 503)
UNKNOWN_CODE: Final = "UnknownCodeOfTests"


class Kind(StrEnum):
    """How an answer differs from the real one."""

    CODE = "code"
    PAGE = "page"
    """HTML, as a load balancer, a console or a login page sends."""
    EMPTY = "empty"
    TRUNCATED = "truncated"
    """Fewer bytes than Content-Length says, then the end of the connection."""
    REDIRECT = "redirect"
    DRIP = "drip"
    """The body comes one byte at a time, slower than the time limit of the whole."""
    LATE = "late"
    """The request takes effect, and its answer comes after the time limit."""
    RESET_BEFORE = "reset-before"
    RESET_AFTER = "reset-after"
    """The request takes effect, and the connection is reset in place of the answer."""

    @property
    def is_slow(self) -> bool:
        """Whether each of them takes a time limit of the clock that the store's connections go by."""
        return self in {Kind.DRIP, Kind.LATE}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One way to answer a request.

    Attributes:
        name: names it in seeds.
        kind: see there.
        status: HTTP status; 0 where there is none.
        code: the store's own; "" where there is none.
        requests: to which requests, by name; `*` for all.
        reasons: those with which a claim may wait while it lasts: values of `Reason`; `ok`, where the claim may get on
            all the same; `*` for any that is not terminal.
        terminal: whether it proves that no retry can help.
        proves_gone: whether it is the identity system's word that the claim's identity does not exist.
        source: where the fact is from.
        message: the store's sentence, where something is read from it; "" for any.
        details: what the body says beside code and sentence.
    """

    name: str
    kind: Kind
    status: int
    requests: frozenset[str]
    reasons: frozenset[str]
    source: str
    code: str = ""
    terminal: bool = False
    proves_gone: bool = False
    message: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_outage(self) -> bool:
        """Whether the server failed or said nothing: a status below 500 is an answer, but for 408 and 429.

        Some services say both with others: IAM throttles with 400, and the identity service of Azure's machines has 404
        and 410 while it is updated. What counts is that the answer can be nothing else.
        """
        is_nothing_else = self.reasons in ({str(Reason.THROTTLED)}, {str(Reason.STORE_UNAVAILABLE)})
        return self.kind in _TRANSPORT or is_nothing_else or self.status >= 500 or self.status in {408, 429}


_TRANSPORT: Final = frozenset({Kind.DRIP, Kind.LATE, Kind.RESET_BEFORE, Kind.RESET_AFTER, Kind.TRUNCATED})
_OUTAGE: Final = frozenset({str(Reason.STORE_UNAVAILABLE), str(Reason.THROTTLED), str(Reason.NOT_READY), OK})
_NOT_OURS: Final = frozenset({str(Reason.STORE_REFUSED), str(Reason.INVALID_PARAMETERS), str(Reason.ACCESS_DENIED)})
_ANSWERED: Final = _NOT_OURS | {str(Reason.NOT_READY), str(Reason.STORE_UNAVAILABLE), OK}
_HTTP: Final = "https://www.rfc-editor.org/rfc/rfc9110.html#name-status-codes"
_EVERY: Final = frozenset({ANY})


def _generic(name: str, kind: Kind, status: int, reasons: frozenset[str], code: str = "") -> Answer:
    return Answer(name=name, kind=kind, status=status, code=code, requests=_EVERY, reasons=reasons, source=_HTTP)


GENERIC: Final = (
    *(
        _generic(f"{status}-unknown", Kind.CODE, status, _OUTAGE if status >= 500 else _ANSWERED, UNKNOWN_CODE)
        for status in UNKNOWN_STATUSES
    ),
    _generic("200-page", Kind.PAGE, 200, _ANSWERED),
    _generic("403-page", Kind.PAGE, 403, _ANSWERED),
    _generic("502-page", Kind.PAGE, 502, _OUTAGE),
    _generic("200-empty", Kind.EMPTY, 200, _EVERY),
    _generic("404-empty", Kind.EMPTY, 404, _EVERY),
    _generic("truncated", Kind.TRUNCATED, 200, _ANSWERED),
    _generic("301-redirect", Kind.REDIRECT, 301, _ANSWERED),
    _generic("307-redirect", Kind.REDIRECT, 307, _ANSWERED),
    _generic("drip", Kind.DRIP, 200, _ANSWERED),
    _generic("late", Kind.LATE, 200, _OUTAGE),
    _generic("reset-before", Kind.RESET_BEFORE, 0, _OUTAGE),
    _generic("reset-after", Kind.RESET_AFTER, 0, _OUTAGE),
)


@dataclass(frozen=True, kw_only=True)
class Delay:
    """What a write changes is seen late by some reads of the same thing.

    Attributes:
        name: names it in seeds.
        write: name of the request whose effect is late.
        reads: names of the requests that are answered as before the write.
        status: of the answer to a read that was never made before the write; 0 where that sees the effect.
        code: of that answer; "" where `body` is the answer.
        body: JSON.
        flaps: whether two nodes, of which one lags, are tried as well.
        seconds: how long it may last at most.
        hides_removal: whether removed credentials still work for a read that is late; else new ones do not yet.
        source: where the fact is from.
    """

    name: str
    write: str
    reads: frozenset[str]
    status: int
    code: str
    body: str
    flaps: bool
    seconds: float
    hides_removal: bool
    source: str


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Everything that one store's server can answer.

    Attributes:
        answers: to all requests.
        delays: between writes and reads.
        optional: names of requests whose refusal the provisioner goes on after.
    """

    answers: tuple[Answer, ...]
    delays: tuple[Delay, ...] = ()
    optional: frozenset[str] = frozenset()

    def to(self, request: str) -> dict[str, Answer]:
        """What a request of that name can get, by name: an entry that names the request wins over one for all."""
        general = {each.name: each for each in self.answers if ANY in each.requests}
        found = general | {each.name: each for each in self.answers if request in each.requests}
        if request not in self.optional:
            return found
        return {
            name: each if each.is_outage else replace(each, reasons=each.reasons | {OK}) for name, each in found.items()
        }


def load(store: str, *, generic: Sequence[Answer] = GENERIC) -> Catalogue:
    """The catalogue of a store.

    Raises:
        ValueError: an entry is incomplete, or names a reason that there is not.
    """
    data = tomllib.loads(Path(__file__).with_name(f"{store}.toml").read_text(encoding="utf-8"))
    answers = [_parse_answer(entry) for entry in data.get("answer", ())]
    given = Counter((each.name, request) for each in answers for request in each.requests)
    if twice := [one for one, count in given.items() if count > 1]:
        raise ValueError(f"{store}.toml has two entries for {twice}")
    return Catalogue(
        answers=(*answers, *generic),
        delays=tuple(_parse_delay(entry) for entry in data.get("delay", ())),
        optional=frozenset(request for entry in data.get("optional", ()) for request in entry["requests"]),
    )


def _parse_answer(entry: Mapping[str, Any]) -> Answer:
    unknown = set(entry["reasons"]) - {str(reason) for reason in Reason} - {ANY, OK}
    if unknown or not entry["source"]:
        raise ValueError(f"answer {entry['code']}: no such reason {sorted(unknown)}, or no source")
    return Answer(
        name=entry.get("name", f"{entry['status']}-{entry['code']}"),
        kind=Kind.CODE,
        status=entry["status"],
        code=entry["code"],
        requests=frozenset(entry["requests"]),
        reasons=frozenset(entry["reasons"]),
        terminal=entry.get("terminal", False),
        proves_gone=entry.get("proves_gone", False),
        source=entry["source"],
        message=entry.get("message", ""),
        details=entry.get("details", {}),
    )


def _parse_delay(entry: Mapping[str, Any]) -> Delay:
    return Delay(
        name=entry["name"],
        write=entry["write"],
        reads=frozenset(entry["reads"]),
        status=entry.get("status", 0),
        code=entry.get("code", ""),
        body=entry.get("body", ""),
        flaps=entry.get("flaps", True),
        seconds=entry.get("seconds", 90.0),
        hides_removal=entry.get("hides_removal", True),
        source=entry["source"],
    )
