"""Shows what the suite found as a table of sentences: one row for each guarantee, one column for each store.

A pytest plugin, loaded with `-p libbucket.testing.conformance.report`. Between pytest, whose reports it collects, and
readers of the end of a run. Knows the suite's classes by the form of their names only, and no store.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pytest

_WIDTH: Final = 160
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


@dataclass
class Findings:
    """What was found so far.

    Attributes:
        results: by store and guarantee: the result of each of its cases.
        crashes: by store: how often a verb died at one of its requests.
        costs: by store: how many requests each verb took.
        reasons: by store: why it can't do something, or why something is not seen on its test server.
    """

    results: dict[str, dict[str, list[Result]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    crashes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    costs: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, report: pytest.TestReport) -> None:
        """Takes one report of pytest's over, if it is about a guarantee."""
        item = _ITEM.search(report.nodeid)
        if item is not None and report.when == "teardown":
            self.crashes[item["store"]] += int(str(dict(report.user_properties).get("crashes", 0)))
        result = _result(report)
        if item is None or result is None:
            return
        self.results[item["store"]][item["guarantee"]].append(result)
        notes = dict(report.user_properties)
        if "requests" in notes:
            self.costs[item["store"]] = str(notes["requests"])
        if result in {Result.CANNOT, Result.UNCHECKED}:
            self.reasons[item["store"]].add(_reason(report))

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


def pytest_configure(config: pytest.Config) -> None:
    """Begins to collect."""
    config.pluginmanager.register(_Reporter(), "guarantees")


class _Reporter:
    def __init__(self) -> None:
        self._findings = Findings()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._findings.add(report)

    def pytest_terminal_summary(self) -> None:
        if self._findings.results:
            console = Console()
            # A file has no width of its own: give the sentences room, rather than a word to a line.
            show(self._findings, console if console.is_terminal else Console(width=_WIDTH))


def show(findings: Findings, console: Console) -> None:
    """Prints the table, what is missing where and why, and the sums."""
    stores = list(findings.results)
    table = Table("guarantee", *stores, title="Guarantees of every store", box=SIMPLE, pad_edge=False)
    for guarantee in findings.guarantees():
        marks = [_mark(findings.results[store].get(guarantee, [])) for store in stores]
        table.add_row(guarantee.replace("_", " "), *marks)
    console.print(table)
    for store in stores:
        for reason in sorted(findings.reasons[store]):
            console.print(f"{store}: {reason}", highlight=False, soft_wrap=True)
    for store, cost in findings.costs.items():
        died = findings.crashes[store]
        text = f"{store}: requests to the store: {cost}; died {died} times at one of them"
        console.print(text, highlight=False, soft_wrap=True)
    for store in stores:
        console.print(f"{store}: {_sum(findings.results[store])}", highlight=False, soft_wrap=True)


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
