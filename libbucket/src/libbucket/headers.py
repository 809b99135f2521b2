"""HTTP headers with the same meaning in the responses of every store.

Used by the `errors` module of a provisioner, and by `http_client`. Makes no request.
"""

from __future__ import annotations

import time
from typing import Final

_MOST_DIGITS: Final = 18


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait, from either form of `Retry-After` (RFC 9110, section 10.2.3): a number, or a date.

    Args:
        value: of the header; None if it is absent.

    Returns:
        At least 0; None if it is absent or invalid.
    """
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= _MOST_DIGITS else None
    return _until(text)


def _until(date: str) -> float | None:
    from email.utils import mktime_tz, parsedate_tz  # loads the parser of mail, which few processes need

    try:
        parts = parsedate_tz(date)
        return None if parts is None else max(0.0, mktime_tz(parts) - time.time())
    except (ValueError, OverflowError):  # years and offsets that are too large
        return None
