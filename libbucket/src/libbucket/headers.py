"""HTTP headers with the same meaning in the responses of every store.

Used by the `errors` module of a provisioner. Makes no request.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait, from either form of `Retry-After` (RFC 9110, section 10.2.3): a number, or a date.

    Args:
        value: of the header; None if it is absent.

    Returns:
        At least 0; None if it is absent or invalid.
    """
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
