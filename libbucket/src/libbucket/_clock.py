"""The default clock. Passed as a parameter wherever time matters, so that tests replace it. Bottom layer."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current time, aware and in UTC."""
    return datetime.now(UTC)
