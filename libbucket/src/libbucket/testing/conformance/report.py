"""Shows what the suite found as a table of sentences: one row for each guarantee, one column for each store.

A pytest plugin, loaded with `-p libbucket.testing.conformance.report`. For each guarantee that is broken it says what
was tried and what came of it, in one sentence each. `--conformance-html FILE` writes the same as a page; pytest's own
`--junit-xml FILE` has the sentence of a guarantee and what was tried as properties of each case. Between pytest, whose
reports it collects, and readers of the end of a run. Knows the suite's classes by the form of their names only, and no
store.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from enum import IntEnum
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pytest

_WIDTH: Final = 160
_LONGEST: Final = 500
_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Guarantees</title><meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }}
th, td {{ text-align: left; font-weight: normal; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #8884 }}
.broken {{ font-weight: bold }}
</style></head>
<body><main>
<h1>Guarantees of every store</h1>
<ul>{sums}</ul>
{broken}
<table><thead><tr><th scope="col">guarantee</th>{head}</tr></thead><tbody>{rows}</tbody></table>
<h2>What is not tested, and why</h2>
<ul>{reasons}</ul>
</main></body></html>
"""
_ITEM: Final = re.compile(r"::Test(?P<store>\w+)::test_(?P<guarantee>\w+)")


class Result(IntEnum):
    """The result of a guarantee; of several cases of one guarantee the largest counts."""

    KEPT = 0
    CANNOT = 1
    UNCHECKED = 2
    BROKEN = 3

    @property
    def mark(self) -> str:
        """As the table shows it."""
        return ("kept", "can't", "unseen", "BROKEN")[self]


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One case of a guarantee that was not kept.

    Attributes:
        nodeid: pytest's name of the case.
        store: whose guarantee.
        guarantee: the sentence.
        outcome: what came of it.
        tried: the calls of verbs before.
    """

    nodeid: str
    store: str
    guarantee: str
    outcome: str = ""
    tried: str = ""


@dataclass
class Findings:
    """What was found so far.

    Attributes:
        results: by store and guarantee: the result of each of its cases.
        crashes: by store: how often a verb died at one of its requests.
        costs: by store: how many requests each verb took.
        reasons: by store: why it can't do something, or why something is not seen on its test server.
        broken: what is broken, in the order in which it was found.
    """

    results: dict[str, dict[str, list[Result]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    crashes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    costs: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    broken: list[Broken] = field(default_factory=list)

    def add(self, report: pytest.TestReport) -> None:
        """Takes one report of pytest's over, if it is about a guarantee."""
        item = _ITEM.search(report.nodeid)
        if item is not None and report.when == "teardown":
            self._note_what_was_tried(report)
            self.crashes[item["store"]] += int(str(dict(report.user_properties).get("crashes", 0)))
        result = _result(report)
        if item is None or result is None:
            return
        self.results[item["store"]][item["guarantee"]].append(result)
        if result is Result.BROKEN:
            found = Broken(nodeid=report.nodeid, store=item["store"], guarantee=sentence(item["guarantee"]))
            self.broken.append(replace(found, outcome=_outcome(report)))
        notes = dict(report.user_properties)
        if "requests" in notes:
            self.costs[item["store"]] = str(notes["requests"])
        if result in {Result.CANNOT, Result.UNCHECKED}:
            self.reasons[item["store"]].add(_reason(report))

    def _note_what_was_tried(self, report: pytest.TestReport) -> None:
        tried = str(dict(report.user_properties).get("tried", ""))
        self.broken = [replace(one, tried=tried) if one.nodeid == report.nodeid else one for one in self.broken]

    def guarantees(self) -> list[str]:
        """All guarantees, in the order in which they were tried first."""
        return list(dict.fromkeys(guarantee for found in self.results.values() for guarantee in found))


def _result(report: pytest.TestReport) -> Result | None:
    if report.failed:
        return Result.BROKEN
    if report.skipped:
        return Result.UNCHECKED if hasattr(report, "wasxfail") else Result.CANNOT
    return Result.KEPT if report.when == "call" else None


def _reason(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return report.wasxfail.removeprefix("reason: ")
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _outcome(report: pytest.TestReport) -> str:
    """The sentence of the assertion that failed: its first line, without what pytest puts before it."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr).strip()
    first = text.partition("\n")[0]
    return re.sub(r"^(AssertionError|Failed): ", "", first)[:_LONGEST]


_POSSESSIVE: Final = re.compile(r"\b(one|another|claim)s( (?:own|bucket|keys|credentials|identity)\b)")


def sentence(guarantee: str) -> str:
    """A guarantee as its name says it, with the apostrophes that no name of a function can have."""
    text = guarantee.replace("_", " ").replace("others grants", "others' grants")
    return _POSSESSIVE.sub(r"\1's\2", text)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option for the page."""
    group = parser.getgroup("conformance", "libbucket's conformance suite")
    group.addoption("--conformance-html", metavar="FILE", default="", help="write the guarantees as an HTML page")


def pytest_configure(config: pytest.Config) -> None:
    """Begins to collect."""
    config.pluginmanager.register(_Reporter(config.getoption("--conformance-html")), "guarantees")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Puts the sentence of a guarantee into JUnit's file."""
    found = _ITEM.search(item.nodeid)
    if found is not None:
        item.user_properties.append(("guarantee", sentence(found["guarantee"])))


class _Reporter:
    def __init__(self, page: str) -> None:
        self._findings = Findings()
        self._page = page

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._findings.add(report)

    def pytest_terminal_summary(self) -> None:
        if self._findings.results:
            console = Console()
            # A file has no width of its own: give the sentences room, rather than a word to a line.
            show(self._findings, console if console.is_terminal else Console(width=_WIDTH))
            if self._page:
                Path(self._page).write_text(as_html(self._findings), encoding="utf-8")


def show(findings: Findings, console: Console) -> None:
    """Prints the table, what is missing where and why, and the sums."""
    stores = list(findings.results)
    table = Table("guarantee", *stores, title="Guarantees of every store", box=SIMPLE, pad_edge=False)
    for guarantee in findings.guarantees():
        marks = [_mark(findings.results[store].get(guarantee, [])) for store in stores]
        table.add_row(sentence(guarantee), *marks)
    console.print(table)
    for one in findings.broken:
        text = f"{one.store}: BROKEN: {one.guarantee}: {one.outcome} (tried: {one.tried or 'nothing yet'})"
        console.print(text, highlight=False, soft_wrap=True, markup=False)
    for store in stores:
        for reason in sorted(findings.reasons[store]):
            console.print(f"{store}: {reason}", highlight=False, soft_wrap=True)
    for store, cost in findings.costs.items():
        died = findings.crashes[store]
        text = f"{store}: requests to the store: {cost}; died {died} times at one of them"
        console.print(text, highlight=False, soft_wrap=True)
    for store in stores:
        console.print(f"{store}: {_sum(findings.results[store])}", highlight=False, soft_wrap=True)


def as_html(findings: Findings) -> str:
    """The same as a page of its own, for a browser."""
    stores = list(findings.results)
    head = "".join(f'<th scope="col">{escape(store)}</th>' for store in stores)
    rows = "".join(_row_of(guarantee, findings) for guarantee in findings.guarantees())
    broken = "".join(
        f"<li><strong>{escape(one.store)}: {escape(one.guarantee)}</strong><br>Tried: {escape(one.tried)}<br>"
        f"Came back: {escape(one.outcome)}</li>"
        for one in findings.broken
    )
    reasons = "".join(
        f"<li>{escape(store)}: {escape(reason)}</li>" for store in stores for reason in sorted(findings.reasons[store])
    )
    sums = "".join(f"<li>{escape(store)}: {escape(_sum(findings.results[store]))}</li>" for store in stores)
    return _PAGE.format(
        broken=f"<h2>Broken</h2><ol>{broken}</ol>" if broken else "", head=head, rows=rows, reasons=reasons, sums=sums
    )


def _row_of(guarantee: str, findings: Findings) -> str:
    cells = ""
    for found in findings.results.values():
        results = found.get(guarantee, [])
        kind = max(results).name.lower() if results else "none"
        cells += f'<td class="{kind}">{escape(Text.from_markup(_mark(results)).plain)}</td>'
    return f'<tr><th scope="row">{escape(sentence(guarantee))}</th>{cells}</tr>'


def _mark(results: list[Result]) -> str:
    if not results:
        return "-"
    worst = max(results)
    kept = results.count(Result.KEPT)
    if worst in {Result.CANNOT, Result.UNCHECKED} and kept:
        return f"{worst.mark} {len(results) - kept}/{len(results)}"
    return f"[bold red]{worst.mark}[/]" if worst is Result.BROKEN else worst.mark


def _sum(results: dict[str, list[Result]]) -> str:
    worst = [max(cases) for cases in results.values()]
    cases = sum(map(len, results.values()))
    parts = [f"{sum(Result.KEPT in each for each in results.values())} guarantees kept", f"{cases} cases"]
    parts += [f"{worst.count(result)} {result.mark}" for result in list(Result)[1:] if result in worst]
    return ", ".join(parts)
