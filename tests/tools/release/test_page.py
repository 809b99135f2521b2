"""Every command of docs/releasing.md, in its order, in a small repository."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testkit.release.workspaces import Workspace

PAGE = Path(__file__).parents[3] / "docs/releasing.md"


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_every_command_of_the_page_does_what_it_says(workspace: Workspace) -> None:
    origin = workspace.directory.parent / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(origin)], check=True)
    workspace.git("remote", "add", "origin", str(origin))
    workspace.git("push", "--quiet", "--tags", "origin", "main")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NOX")}
    environment["PATH"] = workspace.environment["PATH"]

    for command in commands():
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=workspace.directory,
            env=environment,
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
