"""Retry-After in both of its forms."""

from __future__ import annotations

import math
import time
from email.utils import formatdate

import pytest

from libbucket import parse_retry_after


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("0", 0.0), ("120", 120.0)])
def test_a_number_is_seconds(value: str, seconds: float) -> None:
    assert parse_retry_after(value) == seconds


def test_a_date_is_the_time_until_then() -> None:
    seconds = parse_retry_after(formatdate(time.time() + 60, usegmt=True))

    assert seconds is not None
    assert 50 < seconds <= 60


def test_a_date_that_is_past_means_now() -> None:
    assert parse_retry_after(formatdate(time.time() - 60, usegmt=True)) == 0.0


@pytest.mark.parametrize("value", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_very_long_delay_is_a_finite_number_or_ignored(value: str) -> None:
    seconds = parse_retry_after(value)

    assert seconds is None or math.isfinite(seconds)


@pytest.mark.parametrize(
    "value", [None, "", "soon", "-1", "1.5", "²", "9" * 5000, "1 Jan 99999 00:00:00 GMT", "1 Jan 99999999999 00:00:00"]
)
def test_a_value_that_cannot_be_parsed_is_ignored(value: str | None) -> None:
    assert parse_retry_after(value) is None
