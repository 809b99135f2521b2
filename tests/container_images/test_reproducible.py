"""The same sources give the same image, on any machine and in any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from testkit.repository import ROOT

from .conftest import inspect

if TYPE_CHECKING:
    from pathlib import Path

    from images.__main__ import Provisioner
    from images.builders import Builder


def copy_of_the_tree(target: Path) -> Path:
    """What a commit of everything in the work tree would hold."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def test_layers_are_the_same_when_built_again_from_a_copy(
    inspected: dict[str, Any], provisioner: Provisioner, engine: Builder, tmp_path: Path
) -> None:
    tree, tag = copy_of_the_tree(tmp_path / "elsewhere"), f"localhost/again/{provisioner.name}:{provisioner.version}"
    created = int(datetime.fromisoformat(inspected["Created"]).timestamp())
    command = [sys.executable, "-m", "images", provisioner.store, "--no-cache", "--prefix", "localhost/again"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(created), "PYTHONPATH": str(tree / "tools")}
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], check=False, cwd=tree, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    again = inspect(engine, tag)
    subprocess.run([*engine.command, "rmi", "--force", tag], check=False, capture_output=True)

    assert again["RootFS"]["Layers"] == inspected["RootFS"]["Layers"]
    assert again["Created"] == inspected["Created"]
