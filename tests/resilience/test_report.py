"""What a run leaves behind for others to read."""

from __future__ import annotations

import json
import threading
from functools import partial

from testkit.resilience.trials import Trial, carry_out


def test_a_result_can_be_written_whatever_its_trial_holds_on_to() -> None:
    def run(_lock: object) -> str:
        return "was seen"

    trial = Trial(seed="part/store/word@1", expected="is seen", run=partial(run, threading.RLock()))

    written = json.loads(json.dumps(carry_out(trial, "store").as_json()))

    assert written["seed"] == "part/store/word@1"
    assert (written["expected"], written["seen"], written["violation"]) == ("is seen", "was seen", "")
