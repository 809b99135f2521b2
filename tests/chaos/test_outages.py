"""A sample of the part "outages", for every day: the whole is `nox -s chaos -- outages`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from outages import Outages
from trial import Choice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trial import Trial

SAMPLE = {"store": ("throttling",), "access": ("token", "authority", "kubeconfig")}


@pytest.fixture(scope="module", params=sorted(SAMPLE))
def lane(request: pytest.FixtureRequest) -> Iterator[tuple[str, Mapping[str, Trial]]]:
    """One after another, each on a control plane of its own: some stop it."""
    (found,) = [each for each in Outages().lanes(Choice(stores=["minio"])) if each.name == request.param]
    with ExitStack() as stack:
        trials = stack.enter_context(found.open())
        yield found.name, {each.seed.rpartition("/")[2]: each for each in trials}


def test_an_outage_loses_nothing_and_is_over_soon(lane: tuple[str, Mapping[str, Trial]]) -> None:
    name, trials = lane
    for words in SAMPLE[name]:
        trials[words].run()
