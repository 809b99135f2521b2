"""HTTP headers with the same meaning in the responses of every store.

Used by the `errors` module of a provisioner. Makes no request.
"""

from __future__ import annotations

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait, from either form of `Retry-After` (RFC 9110, section 10.2.3): a number, or a date.

    Args:
        value: of the header; None if it is absent.

    Returns:
        At least 0; None if it is absent or invalid.
    """
    if not value:
        return None
    try:
        return float(Retry().parse_retry_after(value))
    except (InvalidHeader, ValueError, OverflowError):  # the last two: numbers and years that are too large
        return None
