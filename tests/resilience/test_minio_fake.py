"""The MinIO in memory answers as the real server does: each flow sends the same requests and gets the same statuses.

Then what `tests/resilience/test_answers.py` sweeps on the one holds on the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.answers import trials
from testkit.answers.flows import FLOWS, Flow
from testkit.answers.registry import ADAPTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.answers.trials import Environment

SAMPLE = 30
"""Trials on the real server."""


@pytest.fixture(scope="module")
def fake() -> Iterator[Environment]:
    with ADAPTERS["minio"]() as adapter, trials.environment(adapter) as made:
        yield made


@pytest.fixture(scope="module")
def real() -> Iterator[Environment]:
    with ADAPTERS["minio-server"]() as adapter, trials.environment(adapter) as made:
        yield made


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_a_flow_sends_the_same_requests_and_gets_the_same_statuses(
    flow: type[Flow], fake: Environment, real: Environment
) -> None:
    seen, expected = trials.record(fake, flow), trials.record(real, flow)

    assert [(one.name, one.status) for one in seen] == [(one.name, one.status) for one in expected]


def test_no_answer_breaks_an_invariant_on_the_real_server(fake: Environment, real: Environment) -> None:
    chosen = trials.sample([case for case in trials.cases(fake) if case.answer not in {"drip", "late"}], SAMPLE)

    broken = {case.seed("minio-server"): list(map(str, trials.run(real, case))) for case in chosen}

    assert {seed: what for seed, what in broken.items() if what} == {}
