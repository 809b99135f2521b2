"""What a run leaves behind for others to read, and how it ends."""

from __future__ import annotations

import _thread
import io
import itertools
import json
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from testkit.resilience.chaos import Run
from testkit.resilience.trials import Choice, Group, Trial, carry_out

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_result_can_be_written_whatever_its_trial_holds_on_to() -> None:
    def run(_lock: object) -> str:
        return "was seen"

    trial = Trial(seed="part/store/word@1", expected="is seen", run=partial(run, threading.RLock()))

    written = json.loads(json.dumps(carry_out(trial, "store").as_json()))

    assert written["seed"] == "part/store/word@1"
    assert (written["expected"], written["seen"], written["violation"]) == ("is seen", "was seen", "")


class Endless:
    """A part whose trials never end; someone presses Ctrl-C during the third."""

    name = "endless"
    guarantee = "none"

    def groups(self, _choice: Choice) -> list[Group]:
        return [Group(name="store", open=self._opened)]

    @contextmanager
    def _opened(self) -> Iterator[Iterator[Trial]]:
        yield (
            Trial(seed=f"endless/{number}", expected="-", run=partial(self._run, number))
            for number in itertools.count(1)
        )

    def _run(self, number: int) -> str:
        if number == 3:
            _thread.interrupt_main()
        return "ran"


def test_ctrl_c_ends_a_run_and_keeps_its_results() -> None:
    run = Run(Choice(), Console(file=io.StringIO()))

    with pytest.raises(KeyboardInterrupt):
        run.carry_out([Endless()])

    assert len(run.results) >= 3
