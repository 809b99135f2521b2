"""The same sources give the same image, whoever builds it, and wherever."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from archive import ImageArchive
from images import date

if TYPE_CHECKING:
    from builders import Builder
    from context import Provisioner

ROOT = Path(__file__).parents[2]


def copy_of_the_tree(target: Path) -> Path:
    """What a commit of everything that is here would hold, without what was built."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def test_built_again_from_a_copy_of_the_tree_it_has_the_same_layers(
    image: ImageArchive, provisioner: Provisioner, engine: Builder, tmp_path: Path
) -> None:
    tree, out = copy_of_the_tree(tmp_path / "elsewhere"), tmp_path / "out"
    command = [sys.executable, str(tree / "tools/images/images.py"), provisioner.store]
    command += ["--builder", engine.name, "--prefix", "localhost/again", "--out", str(out)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(image.created or date())},
    )
    tags = [f"localhost/again/{provisioner.name}:{provisioner.version}", "localhost/again/libbucket-base"]
    subprocess.run([*engine.command, "rmi", "--force", *tags], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    again = ImageArchive(out / provisioner.store / f"{provisioner.name}-{provisioner.version}.oci.tar")

    assert again.layers == image.layers
