"""A sample of the part "replicas", for every day: the whole is `nox -s chaos -- replicas`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.resilience.replicas import Replicas
from testkit.resilience.trials import Choice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testkit.resilience.trials import Trial

SAMPLE = ("freeze@9", "shards")


@pytest.fixture(scope="module")
def trials() -> Iterator[Mapping[str, Trial]]:
    """On a control plane of their own, since all requests to it are logged."""
    (group,) = Replicas().groups(Choice(stores=["minio"]))
    with group.open() as found:
        yield {each.seed.rpartition("/")[2]: each for each in found}


@pytest.mark.parametrize("words", SAMPLE)
def test_no_claim_is_served_by_two_replicas(trials: Mapping[str, Trial], words: str) -> None:
    trials[words].run()
