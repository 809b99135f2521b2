"""Times in the API's format, and how long ago they were, as kubectl writes it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))


def age(text: str, now: datetime) -> str:
    """How long ago this was, in its largest unit: `3d`, `5h`, `12m`, `40s`; "" if it is no time."""
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return ""
    seconds = max(0, int((now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()))
    return next((f"{seconds // size}{unit}" for size, unit in _UNITS if seconds >= size), f"{seconds}s")
