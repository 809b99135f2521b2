"""How many requests a claim costs, as the README says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket.testing.conformance.cost import requests_of_each_verb

if TYPE_CHECKING:
    from libbucket.testing.conformance.environment import Environment


def test_each_verb_takes_no_more_requests_than_the_readme_says(environment: Environment) -> None:
    costs = requests_of_each_verb(environment)

    said = {"provision": 9, "provision again": 3, "grant": 8, "is_intact": 1, "revoke": 6, "delete": 4}
    assert {verb: costs[verb] for verb in said} == said
