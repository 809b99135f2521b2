"""The provisioner's clock beside Azure's, which dates each of its answers.

Used by `errors`, and by `identity` and `delegation` before they issue something that begins at a time. Pure: is told
both times.

Azure compares start and end of a SAS with its own clock, and refuses a request that a key has signed if that is older
than 15 minutes ("Authorize with Shared Key"); neither answer says that a clock is wrong. A SAS, or the policy of one,
that is issued by a clock that is ahead begins in the future: a new one is refused for that long, and so is one that was
renewed, and worked before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from libbucket import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

AHEAD: Final = timedelta(minutes=5)
"""How far the provisioner's clock may be ahead of Azure's: what is issued starts that much earlier."""

BEHIND: Final = timedelta(minutes=15)
"""How far it may be behind: what is issued ends that much earlier, which is before its renewal in no case."""


def machine_time() -> datetime:
    """The time by the clock of this machine, by which Azure's clients date requests."""
    return datetime.now(UTC)


def time_in(headers: Mapping[str, str], name: str) -> datetime:
    """A time that an answer says in a header.

    Raises:
        ValueError: it says none.
    """
    found = parsedate_to_datetime(headers.get(name) or "")
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def lead(headers: Mapping[str, str], now: datetime) -> timedelta:
    """How far the provisioner's clock is ahead of Azure's, by an answer of just now; 0 where that has no date."""
    try:
        return now - time_in(headers, "Date")
    except ValueError:
        return timedelta()


def is_wrong(found: timedelta) -> bool:
    """Whether clocks differ by so much that nothing can be issued."""
    return found > AHEAD or found < -BEHIND


def wrong_clock(found: timedelta, url: str, request_id: str) -> Misconfigured:
    """What is said of a clock that is too wrong."""
    return Misconfigured(
        f"{_difference(found, url)}: set the clock of the provisioner's node right. Until then no credentials are "
        "issued or renewed; those that were issued are kept",
        request_id=request_id,
    )


def doubts(found: timedelta, url: str) -> tuple[str, ...]:
    """A warning about a clock that will soon be too wrong."""
    if found >= -AHEAD:
        return ()
    limit = round(BEHIND.total_seconds() / 60)
    warning = (
        f"{_difference(found, url)}: credentials end that much earlier, and from {limit} minutes on none are issued. "
        "Set the clock of the provisioner's node right"
    )
    return (warning,)


def _difference(found: timedelta, url: str) -> str:
    minutes = round(abs(found.total_seconds()) / 60)
    where = "ahead of" if found > timedelta() else "behind"
    return f"the provisioner's clock is {minutes} minutes {where} Azure's at {url}"
