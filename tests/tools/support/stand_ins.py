"""Programs that stand in for podman, docker and buildah: they note how they were called, and may fail.

What the real ones do with it is tried in tests/images.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = """\
#!{python}
import json, pathlib, sys
with pathlib.Path({log!r}).open("a") as log:
    print(json.dumps(sys.argv[1:]), file=log)
if {images!r} and "images" in sys.argv:
    print({images!r})
if set({fails_at!r}) & set(sys.argv):
    print("what it said")
    sys.exit("Error: it may not")
"""


def stand_in(folder: Path, name: str, *, fails_at: tuple[str, ...] = (), images: str = "") -> None:
    """Puts one into a folder.

    Args:
        folder: which is on the PATH.
        name: of the program.
        fails_at: commands that end with exit code 1.
        images: what it says when it is asked which images it has.
    """
    path = folder / name
    log = str(folder / f"{name}.calls")
    path.write_text(_PROGRAM.format(python=sys.executable, log=log, fails_at=fails_at, images=images))
    path.chmod(0o755)


def calls(folder: Path, name: str) -> list[list[str]]:
    """The arguments of each call, in turn."""
    log = folder / f"{name}.calls"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
