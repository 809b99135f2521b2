"""HTTP headers that mean the same in the answers of every store.

Used by a provisioner's `errors` module. Knows no client and makes no call.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait, from either form of `Retry-After` (RFC 9110, section 10.2.3): a number, or a date.

    Args:
        value: of the header; None where there is none.

    Returns:
        At least 0; None where it says nothing that can be read.
    """
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
