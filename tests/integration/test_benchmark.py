"""The benchmark runs to its end, and its page has every table. What it measures is no matter here."""

from __future__ import annotations

import os
from io import StringIO

import pytest
from rich.console import Console

from testkit.benchmark.__main__ import Sizes, run, show
from testkit.benchmark.report import as_json, as_markdown, tables


def test_a_small_run_fills_every_table() -> None:
    if os.environ.get("LIBBUCKET_TEST_CONTEXT"):
        pytest.skip("needs a control plane of its own")
    console = Console(file=StringIO(), width=100)
    sizes = Sizes(claims=3, rounds=1, many=3, replicated=4, cached=(20,))
    results = run(sizes, with_peer=False, console=console)
    page = as_markdown(results, "performance.svg")
    for title, (header, rows) in tables(results).items():
        assert f"### {title}" in page
        assert rows
        assert {len(row) for row in rows} == {len(header)}
    assert results.many.restart.store_calls == 0
    assert results.many.upgrade.store_calls == 4, "each of the three, and the claim of the restart"
    for found in (results.replicas, results.replicas_on_stubs):
        assert [each.replicas for each in found] == [1, 2, 4]
    assert '"store_requests"' in as_json(results)
    show(results, console)
