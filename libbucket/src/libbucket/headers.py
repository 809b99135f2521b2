"""HTTP headers that mean the same in the answers of every store.

Used by a provisioner's `errors` module. Knows no client and makes no call.
"""

from __future__ import annotations

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait, from either form of `Retry-After` (RFC 9110, section 10.2.3): a number, or a date.

    Args:
        value: of the header; None where there is none.

    Returns:
        At least 0; None for a value that cannot be parsed.
    """
    if not value:
        return None
    try:
        return float(Retry().parse_retry_after(value))
    except (InvalidHeader, ValueError, OverflowError):  # the last two: numbers and years that are too large
        return None
