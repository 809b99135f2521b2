"""Text for a terminal: one line without control characters, rows of a label and a wrapped sentence.

Used by every command. Messages may contain what tenants wrote, so nothing is printed without passing through here.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_WIDEST: Final = 100
_NARROWEST: Final = 40
_INDENT: Final = 11


def one_line(text: str) -> str:
    """The text without control characters, line breaks and marks that change the direction of writing."""
    return _CONTROL.sub(" ", text)


def escaped(json: str) -> str:
    """Formatted JSON with the same characters as escape sequences: what it means stays as it is."""
    return _CONTROL.sub(lambda found: "".join(one if one == "\n" else f"\\u{ord(one):04x}" for one in found[0]), json)


def terminal_width() -> int:
    """Columns for sentences: those of a narrow terminal, and 100 of a wide one or in a pipe."""
    if not sys.stdout.isatty():
        return _WIDEST
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))


def row(label: str, text: str, width: int) -> str:
    """`Label:     text`, wrapped at so many columns."""
    first, later = f"{label + ':':<{_INDENT}}", " " * _INDENT
    return textwrap.fill(
        one_line(text),
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
