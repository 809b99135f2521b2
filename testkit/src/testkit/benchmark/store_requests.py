"""How many requests each verb of each provisioner sends to its store: counted on the stores in memory."""

from __future__ import annotations

from typing import Final

from testkit.answers import flows, trials
from testkit.answers.registry import ADAPTERS
from testkit.stores import STORES

_FLOWS: Final = (flows.Provision, flows.Grant, flows.DriftCheck, flows.Delete, flows.Revoke)


def requests_by_verb() -> dict[str, dict[str, int]]:
    """By store, then by flow of the answer sweep: a verb where nothing hinders it."""
    found: dict[str, dict[str, int]] = {}
    for store in STORES:
        with ADAPTERS[store]() as adapter, trials.environment(adapter) as environment:
            found[store] = {each.name: len(trials.record(environment, each)) for each in _FLOWS}
    return found
