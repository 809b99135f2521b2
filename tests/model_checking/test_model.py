"""Every order of everything that a claim's actors do, over the real core: no invariant is broken, and each can be."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from testkit.model_checking.__main__ import LIMIT, explore, main
from testkit.model_checking.injected_faults import FAULTS
from testkit.model_checking.invariants import INVARIANTS
from testkit.model_checking.scenarios import LATE_CALLS, SCENARIOS

if TYPE_CHECKING:
    from testkit.model_checking.injected_faults import InjectedFault
    from testkit.model_checking.invariants import Invariant
    from testkit.model_checking.scenarios import Scenario

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
FEWEST_STATES = 300
"""In the smallest scenario: fewer means that a move is no longer generated."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_no_order_of_events_breaks_a_invariant(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    found = explore(scenario, limit=scenario.most or LIMIT)
    with capsys.disabled():
        print(f"\n{scenario.name}: {found.states} states, {found.moves} moves, {found.quiet} quiet ends", end=" ")
    assert not found.violations, str(found.violations[0])
    assert found.is_complete or found.states >= scenario.most > 0
    assert found.states >= FEWEST_STATES
    assert found.quiet > 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_an_injected_fault_is_detected_and_the_broken_invariant_is_named(fault: InjectedFault) -> None:
    with fault.injected():
        found = explore(BY_NAME[fault.scenario])
    assert [one.invariant for one in found.violations] == [fault.breaks], found.violations
    assert found.violations[0].steps


def test_a_call_that_reaches_the_store_after_the_leader_has_changed_is_the_one_thing_that_is_not_invariantd() -> None:
    found = explore(LATE_CALLS)
    (violation,) = found.violations  # whichever of the two is met first
    assert violation.invariant in {"credentials work", "nothing lost"}
    assert any(
        step.startswith(("replica 0 (a-b/c): provision", "replica 1 (a-b/c): provision")) for step in violation.steps
    )


def test_every_invariant_can_be_broken() -> None:
    assert {fault.breaks for fault in FAULTS} == {invariant.name for invariant in INVARIANTS}


@pytest.mark.parametrize("invariant", INVARIANTS, ids=lambda invariant: invariant.name.replace(" ", "-"))
def test_every_invariant_is_a_sentence_and_names_the_code_that_maintains_it(invariant: Invariant) -> None:
    assert invariant.says.endswith(".")
    sources = [inspect.getsourcefile(one) for one in invariant.kept_by if callable(one)]
    assert len(sources) == len(invariant.kept_by) > 0
    assert all(source is not None and "/libbucket/" in source for source in sources)


def test_the_program_prints_one_line_with_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bound", "1", "--scenario", "retain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("model: bound 1, 1 scenarios, ")
    assert lines[0].endswith("violations: 0")


def test_the_program_shows_the_steps_to_a_violation_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    fault = next(one for one in FAULTS if one.scenario == "retain")
    with fault.injected():
        assert main(["--scenario", "retain"]) == 1
    out = capsys.readouterr().out
    assert f"in 'retain': {fault.breaks}: " in out
    assert "  1 tenant creates" in out
    assert "violations: 1" in out


def test_the_program_runs_by_itself_and_knows_its_scenarios() -> None:
    command = [sys.executable, "-m", "testkit.model_checking", "--scenario", "nonsense"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 2
    assert "comes and goes" in ran.stderr
