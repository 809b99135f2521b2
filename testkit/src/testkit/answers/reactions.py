"""What a provisioner makes of one answer: the rest of the reconcile that met it.

Two answers to the same request of the same flow that lead to the same requests and the same outcome lead to the same
everything: core and store in memory are deterministic, and nothing goes by the words of a message. So each answer is
given once for its reaction (`.../reaction`), where reason, words, log and leaks are checked; and of those with the same
reaction, one is given in the whole trials. `--exhaustive` gives each.

Knows a trial's evidence, and no store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

    from testkit.answers.invariants import Evidence
    from testkit.answers.trials import Case


def reaction(seen: Evidence, since: int) -> str:
    """Everything that the provisioner and the core did.

    Args:
        seen: of a trial whose answer was given.
        since: length of the simulation's history before.
    """
    subject, answer = seen.subject, seen.answer
    simulation = subject.simulation
    outcomes = [one.outcome for one in simulation.history[since:] if one.key == subject.key]
    requests = [(one.name, one.status, one.injected) for one in simulation.injector.seen]
    assert answer is not None, "delayed effects have no reaction"
    expected = answer.terminal, answer.proves_gone, answer.is_outage
    slow = answer.kind if answer.kind.is_slow else ""
    return f"{requests} {outcomes} {subject.reason} {expected} {slow}"


def representatives(reactions: Mapping[str, str], tried: Counter[str]) -> list[str]:
    """One answer of each reaction: the one that was chosen least often before.

    Args:
        reactions: by name of the answer.
        tried: how often each was chosen; counted on.
    """
    chosen = [min(names, key=lambda name: tried[name]) for names in _by_reaction(reactions)]
    tried.update(chosen)
    return chosen


def by_request(cases: Iterable[Case]) -> list[list[Case]]:
    """The cases of each request of each flow, in their order."""
    groups: dict[tuple[str, str, int], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.flow, case.request, case.ordinal), []).append(case)
    return list(groups.values())


def _by_reaction(reactions: Mapping[str, str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name, found in reactions.items():
        groups.setdefault(found, []).append(name)
    return list(groups.values())
