"""A sample of the part "crash", on every store: the whole of it is `nox -s chaos -- crash`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from testkit.resilience.crash import Crash
from testkit.resilience.trials import Choice, results_of
from testkit.stores import STORES

if TYPE_CHECKING:
    from libbucket.testing.controlplane import ControlPlane


@pytest.mark.parametrize("store", sorted(STORES))
def test_a_provisioner_that_is_cut_off_anywhere_loses_nothing_and_leaves_nothing(
    cluster: ControlPlane, store: str
) -> None:
    results = list(results_of(Crash(lambda: nullcontext(cluster)), Choice(stores=[store], sample=1)))
    assert len(results) > 30
    assert {each.trial.seed: each.violation for each in results if each.violation} == {}
