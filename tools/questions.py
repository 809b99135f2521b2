"""The questions of a first hour with a real store: each is asked, and its answer printed beside what is expected.

Used by `verify_on_aws.py`, `verify_on_azure.py` and `verify_on_google.py`. Knows no store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Tested(Protocol):
    """What is tested: an account or a project."""

    def clean_up(self) -> list[str]:
        """Removes everything that the checks made; gives what is left."""


Place = TypeVar("Place", bound=Tested)


@dataclass(frozen=True, kw_only=True)
class Check(Generic[Place]):
    """One question.

    Attributes:
        what: is asked.
        expected: the beginnings of answers with which the provisioner works as it is.
        ask: gives the answer.
    """

    what: str
    expected: tuple[str, ...]
    ask: Callable[[Place], str]


def ask_all(
    checks: Iterable[Check[Place]],
    place: Place,
    asked: Callable[[Check[Place], Place], str],
    *,
    tell: Callable[[str], None],
    width: int = 50,
) -> bool:
    """Asks everything; gives whether all answers were expected and nothing is left.

    Args:
        checks: in their order.
        place: that was named on the command line.
        asked: gives the answer to a check, also where the store refuses it.
        tell: prints a line.
        width: of the column of what is asked.
    """
    fine = True
    try:
        for check in checks:
            answer = asked(check, place)
            is_expected = answer.startswith(check.expected)
            fine = fine and is_expected
            tell(f"{'ok  ' if is_expected else 'DIFF'} {check.what:<{width}} {answer}")
    finally:
        left = place.clean_up()
        for each in left:
            tell(f"LEFT {each}: remove it manually")
    return fine and not left
