"""How many requests a claim costs, as the README says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket.testing.conformance.costs import requests_of_each_verb

if TYPE_CHECKING:
    from libbucket.testing.conformance.world import World


def test_each_verb_takes_no_more_requests_than_the_readme_says(world: World) -> None:
    assert list(requests_of_each_verb(world).values()) == [10, 8, 6, 1, 3, 9]
