"""Console output of the demo: headings, lines and tables, on one console with the progress of long waits."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.text import Text

from libbucket.testing.progress import console

if TYPE_CHECKING:
    from collections.abc import Iterable


class DemoConsole:
    """Prints steps, with the time since the demo began."""

    def __init__(self) -> None:
        console.file = sys.stdout
        self._started = time.monotonic()

    def heading(self, title: str) -> None:
        console.print()
        console.rule(f"[bold]{title}", align="left", characters="-")

    def line(self, line: str) -> None:
        console.print(f"  {line}", markup=False)

    def event(self, who: str, what: str) -> None:
        """Prints an event, with the time since the demo began."""
        self._line(f"{time.monotonic() - self._started:6.1f} s  ", "dim", f"{who}  ", "cyan", what, "")

    def verified(self, what: str) -> None:
        self._line("  ok  ", "bold green", what, "")

    def table(self, title: str, rows: Iterable[tuple[str, str]]) -> None:
        pairs = list(rows)
        width = max(len(key) for key, _ in pairs)
        self.line(f"            {title}")
        for key, value in pairs:
            self.line(f"              {key:<{width}}  {value}")

    def _line(self, *texts_and_styles: str) -> None:
        pairs = zip(texts_and_styles[::2], texts_and_styles[1::2], strict=True)
        console.print(Text.assemble("  ", *pairs))
