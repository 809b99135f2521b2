"""The one error of this package: why a release is not made, as a sentence for whoever asked for it."""

from __future__ import annotations


class Refused(Exception):
    """Nothing was changed; the message says why, and what would help."""
