"""Records the demo: runs `nox -s demo -- minio`'s program, and draws what it printed as `docs/demo.svg`.

In the environment that `nox -s dev` makes: `python tools/docs/record_demo.py`. The picture leaves parts of
the run out, which are named here.
"""

from __future__ import annotations

import io
import re
import runpy
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from libbucket.testing.progress import console

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/demo.svg"
TITLE = "nox -s demo -- minio"
WIDTH = 106
LEFT_OUT = re.compile(r"A real cluster|Another claim|.* claim report-reader can do|That is all")
"""Parts, by their headings: the start, a second claim for an existing bucket, the end."""
HEADING = re.compile(r"-{5,}$")
PROGRESS = re.compile(r"waiting for ")


def main() -> int:
    """Runs the demo, and writes the picture if the demo succeeded."""
    code = run_demo()
    if code == 0:
        PICTURE.write_text(draw(keep(console.export_text(styles=True))))
    return code


def run_demo() -> int:
    """Exit code of the demo; what it prints is recorded."""
    console.record = True
    sys.path.insert(0, str(ROOT / "tools"))
    sys.argv = ["demo", "minio"]
    try:
        runpy.run_module("demo", run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def keep(recorded: str) -> list[Text]:
    """The lines of the parts that are shown, without the progress of long waits."""
    lines, is_shown = [], False
    for line in Text.from_ansi(recorded).split("\n", allow_blank=True):
        if HEADING.search(line.plain):
            is_shown = not LEFT_OUT.match(line.plain)
        if is_shown and not PROGRESS.match(line.plain):
            lines.append(line)
    return lines


def draw(lines: list[Text]) -> str:
    """An SVG in the style of a terminal, without a font from elsewhere."""
    recorder = Console(record=True, width=WIDTH, file=io.StringIO())
    for line in lines:
        recorder.print(line, overflow="fold")
    svg = recorder.export_svg(title=TITLE, theme=MONOKAI, unique_id="demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


if __name__ == "__main__":
    sys.exit(main())
