"""Fakes of docker, podman and buildah: they record their arguments, and fail where they are told to."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = """\
#!{python}
import json, pathlib, shutil, sys
with pathlib.Path({log!r}).open("a") as log:
    print(json.dumps(sys.argv[1:]), file=log)
if set({fails_at!r}) & set(sys.argv):
    print("some detail", file=sys.stderr)
    sys.exit("Error: it is not allowed.")
if "inspect" in sys.argv:
    print({revision!r})
if "save" in sys.argv:
    shutil.copy({archive!r}, sys.argv[sys.argv.index("--output") + 1])
"""


@dataclass(frozen=True)
class Programs:
    """The only folder on the PATH."""

    folder: Path

    def install(self, name: str, *, fails_at: tuple[str, ...] = (), revision: str = "") -> None:
        """Adds a fake builder.

        Args:
            name: of the program.
            fails_at: commands that end with exit code 1.
            revision: the label of every image that it is asked for.
        """
        paths = {"log": str(self.folder / f"{name}.calls"), "archive": str(self.folder / "archive.tar")}
        text = _PROGRAM.format(python=sys.executable, fails_at=fails_at, revision=revision, **paths)
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of each call, in order."""
        log = self.folder / f"{name}.calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []

    def write_archive(self, size: int) -> Path:
        """The archive that the fakes save: one layer with one file of this size."""
        layer, path = io.BytesIO(), self.folder / "archive.tar"
        with tarfile.open(fileobj=layer, mode="w:gz") as files:
            entry = tarfile.TarInfo("file")
            entry.size = size
            files.addfile(entry, io.BytesIO(bytes(size)))
        with tarfile.open(path, "w") as archive:
            for name, content in {"index.json": b"{}", "blobs/sha256/0": layer.getvalue()}.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(folder))
    made = Programs(folder)
    made.write_archive(1000)
    return made
