"""The answer sweep: its catalogues, the whole of it on the store in memory, and a sample on the real MinIO.

The whole on a store is `nox -s chaos -- answers --store STORE`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.answers import trials
from testkit.answers.catalogue import GENERIC, load
from testkit.answers.registry import ADAPTERS
from testkit.answers.trials import Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.answers.trials import Environment

SAMPLE = 80
"""Trials on each store with a server."""


@pytest.fixture(scope="module", params=sorted(ADAPTERS))
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    with ADAPTERS[request.param]() as adapter, trials.environment(adapter) as made:
        yield made


def test_no_answer_breaks_an_invariant(environment: Environment) -> None:
    store = environment.adapter.name
    found = trials.cases(environment)
    chosen = found if not environment.adapter.upstream else trials.sample(found, SAMPLE)

    broken = {case.seed(store): list(map(str, trials.run(environment, case))) for case in chosen}

    assert chosen
    assert {seed: what for seed, what in broken.items() if what} == {}


@pytest.mark.parametrize("store", sorted(ADAPTERS))
def test_every_answer_names_its_source(store: str) -> None:
    catalogue = load(store)

    assert len(catalogue.answers) > len(GENERIC)
    assert [one.name for one in catalogue.answers if not one.source] == []


def test_a_sample_has_every_request_of_every_flow_if_there_is_room() -> None:
    with ADAPTERS["memory"]() as adapter, trials.environment(adapter) as made:
        found = trials.cases(made)

    chosen = trials.sample(found, len(found))

    assert {(one.flow, one.request) for one in chosen} == {(one.flow, one.request) for one in found}
    assert {one.answer for one in chosen} == {one.answer for one in found}


def test_a_seed_names_its_trial() -> None:
    case = Case(flow="provision", request="AddUser", ordinal=2, answer="403-AccessDenied", times="once")

    assert case.seed("minio") == "answers/minio/provision/AddUser@2/403-AccessDenied/once"
    assert Case.parse(case.seed("minio")) == case
