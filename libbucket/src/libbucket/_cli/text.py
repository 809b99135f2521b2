"""Text for a terminal: one line without control characters, rows of a label and a wrapped sentence.

Used by every command. Messages may contain what tenants wrote, so nothing is printed without passing through here.
"""

from __future__ import annotations

import re
import textwrap
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_WIDTH: Final = 100
_INDENT: Final = 11


def one_line(text: str) -> str:
    """The text without control characters, line breaks and marks that change the direction of writing."""
    return _CONTROL.sub(" ", text)


def row(label: str, text: str) -> str:
    """`Label:     text`, wrapped at 100 columns."""
    first, later = f"{label + ':':<{_INDENT}}", " " * _INDENT
    return textwrap.fill(
        one_line(text),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
