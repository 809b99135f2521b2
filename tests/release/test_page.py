"""Every command of docs/releasing.md, in its order, in a repository in small."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workspaces import Workspace

PAGE = Path(__file__).parents[2] / "docs/releasing.md"
# Without docker, podman and buildah: images are the session `image`'s.
PROGRAMS = ("bash", "git", "rm", "sha256sum")


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def directory_of_programs(parent: Path) -> Path:
    directory = parent / "programs"
    directory.mkdir()
    for name in PROGRAMS:
        (directory / name).symlink_to(str(shutil.which(name)))
    (directory / "nox").symlink_to(Path(sys.executable).parent / "nox")
    return directory


def test_every_command_of_the_page_does_what_it_says(workspace: Workspace) -> None:
    origin = workspace.directory.parent / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(origin)], check=True)
    workspace.git("remote", "add", "origin", str(origin))
    workspace.git("push", "--quiet", "--tags", "origin", "main")
    path = str(directory_of_programs(workspace.directory.parent))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NOX")}

    for command in commands():
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=workspace.directory,
            env={**environment, "PATH": path},
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    published = type(workspace)(directory=origin)
    assert published.git("log", "--format=%s", "-2", "main").splitlines() == [
        "Release minio 0.2.0",
        "Release libbucket 0.1.1",
    ]
    assert published.git("tag").split() == ["libbucket-v0.1.0", "libbucket-v0.1.1", "minio-v0.2.0"]
