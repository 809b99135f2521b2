"""The measurement of many new claims counts workers: `python -m testkit.answers.many_claims`."""

from __future__ import annotations

import pytest

from testkit.answers.many_claims import measure
from testkit.answers.simulation import RECONCILE_SECONDS


@pytest.mark.parametrize(("workers", "seconds"), [(1, [1, 2, 3, 4]), (2, [1, 1, 2, 2]), (4, [1, 1, 1, 1])])
def test_claims_that_several_workers_reconcile_take_no_time_of_each_other(workers: int, seconds: list[int]) -> None:
    found = measure("memory", claims=4, workers=workers)

    assert found.reconciles == 4
    assert found.bound_after == pytest.approx([each * RECONCILE_SECONDS for each in seconds])
