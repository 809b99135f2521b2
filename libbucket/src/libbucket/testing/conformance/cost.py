# ruff: noqa: D102, FBT001 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about what the verbs cost the store, counted in HTTP requests; the counts are in the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

from libbucket.provisioner import Inspector
from libbucket.testing.conformance.environment import Environment, Guarantees
from libbucket.testing.requests_watched import counted_requests

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")


class Cost(Guarantees):
    """Requests, not seconds."""

    @pytest.mark.parametrize("greenfield", [True, False], ids=["greenfield", "brownfield"])
    def test_a_drift_check_of_a_bound_claim_costs_one_request_at_most(
        self, environment: Environment, greenfield: bool
    ) -> None:
        tenant = environment.tenant(greenfield=greenfield)
        assert environment.looks_intact(tenant), "the drift check sees damage where there is none"
        with counted_requests() as sent:
            assert environment.looks_intact(tenant), "the drift check sees damage where there is none"
        assert len(sent) <= 1, sent

    def test_a_call_that_finds_everything_done_costs_no_more_than_the_first(
        self, environment: Environment, request: pytest.FixtureRequest
    ) -> None:
        costs = requests_of_each_verb(environment)
        request.node.user_properties.append(("requests", _sentence(costs)))  # for the report
        assert costs["provision again"] <= costs["provision"], "a repeated call costs more than the first"
        assert costs["revoke again"] <= costs["revoke"], "a repeated call costs more than the first"
        assert costs["delete again"] <= costs["delete"], "a repeated call costs more than the first"


def requests_of_each_verb(environment: Environment) -> dict[str, int]:
    """How many requests a verb sends: by its name, with `again` for a call that finds everything done.

    `is_intact` is among them where the provisioner is an `Inspector`: the others are counted without one, too.
    Buckets are empty, and classes the backend's usual ones. For tests that hold a README to its figures.
    """
    bucket = environment.foreign_bucket()
    owner, provision = _counted(environment.greenfield)
    guest, grant = _counted(lambda: environment.brownfield(bucket))
    again = _counted(lambda: environment.again(owner))[1]
    checks = {}
    if isinstance(environment.provisioner, Inspector):
        is_intact, checks["is_intact"] = _counted(lambda: environment.looks_intact(owner))
        assert is_intact, "the drift check sees damage where there is none"
    revoke, revoke_again = (_counted(lambda: environment.revoke(guest.record))[1] for _ in range(2))
    delete, delete_again = (_counted(lambda: environment.delete(owner.record))[1] for _ in range(2))
    return {
        "provision": provision,
        "provision again": again,
        "grant": grant,
        **checks,
        "revoke": revoke,
        "revoke again": revoke_again,
        "delete": delete,
        "delete again": delete_again,
    }


def _sentence(costs: dict[str, int]) -> str:
    return "; ".join(f"{verb} {count}" for verb, count in costs.items())


def _counted(call: Callable[[], Answer]) -> tuple[Answer, int]:
    with counted_requests() as sent:
        answer = call()
    return answer, len(sent)
