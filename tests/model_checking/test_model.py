"""Every order of everything that a claim's actors do, over the real core: no promise is broken, and each can be."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from testkit.model_checking.__main__ import LIMIT, explore, main
from testkit.model_checking.injected_faults import MISTAKES
from testkit.model_checking.invariants import INVARIANTS
from testkit.model_checking.scenarios import LATE_CALLS, SCENARIOS

if TYPE_CHECKING:
    from testkit.model_checking.injected_faults import Mistake
    from testkit.model_checking.invariants import Invariant
    from testkit.model_checking.scenarios import Scenario

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
FEWEST_STATES = 300
"""In the smallest scenario: fewer means that something never happens any more, not that all is well."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_no_order_of_events_breaks_a_promise(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    found = explore(scenario, limit=scenario.most or LIMIT)
    with capsys.disabled():
        print(f"\n{scenario.name}: {found.states} states, {found.moves} moves, {found.quiet} quiet ends", end=" ")
    assert not found.violations, str(found.violations[0])
    assert found.is_complete or found.states >= scenario.most > 0
    assert found.states >= FEWEST_STATES
    assert found.quiet > 0


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name.replace(" ", "-"))
def test_a_planted_mistake_is_found_and_the_promise_that_it_breaks_is_named(mistake: Mistake) -> None:
    with mistake.planted():
        found = explore(BY_NAME[mistake.scenario])
    assert [one.invariant for one in found.violations] == [mistake.breaks], found.violations
    assert found.violations[0].steps


def test_a_call_that_reaches_the_store_after_the_leader_has_changed_is_the_one_thing_that_is_not_promised() -> None:
    found = explore(LATE_CALLS)
    (violation,) = found.violations  # whichever of the two is met first
    assert violation.invariant in {"credentials work", "nothing lost"}
    assert any(
        step.startswith(("replica 0 (a-b/c): provision", "replica 1 (a-b/c): provision")) for step in violation.steps
    )


def test_every_promise_can_be_broken() -> None:
    assert {mistake.breaks for mistake in MISTAKES} == {promise.name for promise in INVARIANTS}


@pytest.mark.parametrize("promise", INVARIANTS, ids=lambda promise: promise.name.replace(" ", "-"))
def test_every_promise_is_a_sentence_and_names_the_code_that_keeps_it(promise: Invariant) -> None:
    assert promise.says.endswith(".")
    sources = [inspect.getsourcefile(one) for one in promise.kept_by if callable(one)]
    assert len(sources) == len(promise.kept_by) > 0
    assert all(source is not None and "/libbucket/" in source for source in sources)


def test_the_program_prints_one_line_with_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bound", "1", "--scenario", "retain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("model: bound 1, 1 scenarios, ")
    assert lines[0].endswith("violations: 0")


def test_the_program_shows_the_steps_to_a_violation_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    mistake = next(one for one in MISTAKES if one.scenario == "retain")
    with mistake.planted():
        assert main(["--scenario", "retain"]) == 1
    out = capsys.readouterr().out
    assert f"in 'retain': {mistake.breaks}: " in out
    assert "  1 tenant creates" in out
    assert "violations: 1" in out


def test_the_program_runs_by_itself_and_knows_its_scenarios() -> None:
    command = [sys.executable, "-m", "testkit.model_checking", "--scenario", "nonsense"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 2
    assert "comes and goes" in ran.stderr
