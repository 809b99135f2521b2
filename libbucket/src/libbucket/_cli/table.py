"""Tables for a terminal: aligned columns, coloured phases; for a pipe the same without colours. Never truncated.

A narrow terminal wraps a row, as it does those of kubectl: a truncated row would lack the reason.

The only module that imports rich.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from libbucket._cli.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_UNCUT: Final = 10_000
_GAP: Final = 3
_STYLES: Final = {"Bound": "green", "Pending": "yellow", "Failed": "red", "ok": "green", "problem": "red"}


class TablePrinter:
    """Prints rows, at once or one after the other; columns stay aligned with what was printed before.

    Args:
        columns: their headings, printed before the first row.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._widths = {column: len(column) for column in columns}
        self._is_first = True

    def print(self, cells: Sequence[Mapping[str, str]]) -> None:
        """Prints rows of cells by their column's name."""
        from rich.console import Console
        from rich.text import Text

        console = Console(width=_UNCUT, highlight=False, soft_wrap=False)
        for column in self._columns:
            self._widths[column] = max([self._widths[column], *(len(one_line(row[column])) for row in cells)])
        if self._is_first:
            heading = Text("".join(self._padded(column, column) for column in self._columns).rstrip(), style="bold")
            console.print(heading, no_wrap=True)
        self._is_first = False
        for row in cells:
            # Text, not markup: a tenant may write brackets.
            line = Text()
            for column in self._columns:
                line.append(self._padded(column, one_line(row[column])), style=_STYLES.get(row[column], ""))
            line.rstrip()
            console.print(line, no_wrap=True)

    def _padded(self, column: str, text: str) -> str:
        return text.ljust(self._widths[column] + _GAP)


def print_paragraphs(paragraphs: Sequence[tuple[str, str, str]]) -> None:
    """Prints a label, a sentence and what to do next, one below the other: for people, at any width."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for label, sentence, next_step in paragraphs:
        console.print(Text.assemble((f"{one_line(label):<8} ", _STYLES.get(label, "")), one_line(sentence)))
        if next_step:
            console.print(Text(f"{'':<8} Next: {one_line(next_step)}"))
