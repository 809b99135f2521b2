"""A sample of the part "outages", for every day: the whole is `nox -s chaos -- outages`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from testkit.resilience.outages import Outages
from testkit.resilience.trials import Choice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from testkit.resilience.trials import Trial

SAMPLE = {"store": ("throttling",), "access": ("token", "authority", "kubeconfig")}


@pytest.fixture(scope="module", params=sorted(SAMPLE))
def group(request: pytest.FixtureRequest) -> Iterator[tuple[str, Iterable[Trial]]]:
    """One after another, each on a control plane of its own: some stop it."""
    (found,) = [each for each in Outages().groups(Choice(stores=["minio"])) if each.name == request.param]
    with ExitStack() as stack:
        yield found.name, stack.enter_context(found.open())


def test_an_outage_loses_nothing_and_is_over_soon(group: tuple[str, Iterable[Trial]]) -> None:
    name, trials = group
    ran = []
    for trial in trials:  # each while its servers run, which end with the last
        words = trial.seed.rpartition("/")[2]
        if words in SAMPLE[name]:
            trial.run()
            ran.append(words)
    assert sorted(ran) == sorted(SAMPLE[name])
