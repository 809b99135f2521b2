"""A small repository with real git, the real runner and the real pins: two packages of a few lines each.

Not a clone of this one, so that tests do not depend on what can be released at the moment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from testkit.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

# Programs of the release are found as in a session: those of this environment first.
PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))

PROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "0.1.0"
description = "Small"
readme = "README.md"
license = "Apache-2.0"
requires-python = ">=3.11"
dependencies = [{dependency}]

{scripts}
[tool.hatch.build.targets.wheel]
packages = ["src/{module}"]

"""
SCRIPTS = '[project.scripts]\nminio-provisioner = "minio_provisioner:main"\n'
MAIN = """\
from importlib.metadata import version

import libbucket


def main() -> None:
    print("minio-provisioner", version("minio-provisioner"), "with", libbucket.NAME)
"""

TESTKIT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "testkit"
version = "0"
"""

TEST = "import minio_provisioner\n\n\ndef test_it_has_a_program():\n    assert minio_provisioner.main\n"


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A checkout to release from."""

    directory: Path
    environment: Mapping[str, str] = field(default_factory=lambda: {"PYTHONPATH": str(ROOT / "tools"), "PATH": PATH})

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.directory, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, subject: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", subject)

    def tag(self, name: str) -> None:
        self.git("tag", "--annotate", "--message", name, name)

    def write(self, path: str, text: str) -> None:
        (self.directory / path).parent.mkdir(parents=True, exist_ok=True)
        (self.directory / path).write_text(text)

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.directory / path).read_text()
        assert old in text
        (self.directory / path).write_text(text.replace(old, new))

    def release(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What `nox -s release -- ARGUMENTS` runs."""
        return self.run("-m", "release", *arguments, **environment)

    def wheels(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What `nox -s build -- ARGUMENTS` runs."""
        return self.run("tools/wheels.py", *arguments, **environment)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs Python in this checkout."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env={**os.environ, **self.environment, **environment},
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def state(self) -> list[str]:
        """All that a release may change: refs, the tree, worktrees."""
        questions = ("for-each-ref", "rev-parse HEAD", "status --porcelain --ignored", "worktree list")
        return [self.git(*question.split()) for question in questions]


def make_workspace(directory: Path) -> Workspace:
    """libbucket 0.1.0 is released, and the minio-provisioner that works with it is not."""
    made = Workspace(directory=directory)
    made.directory.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    # In the checkout's own configuration: the release has to use it.
    made.git("config", "user.name", "Maintainer")
    made.git("config", "user.email", "maintainer@example.com")
    for name in ("pyproject.toml", "noxfile.py", ".gitignore"):
        shutil.copy(ROOT / name, made.directory)
    for name in ("requirements", "tools"):
        shutil.copytree(ROOT / name, made.directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    write_package(made, "libbucket", distribution="libbucket")
    made.write("libbucket/src/libbucket/__init__.py", 'NAME = "first"\n\n\ndef run() -> None: ...\n')
    write_package(made, "packages/minio", distribution="minio-provisioner")
    made.write("packages/minio/src/minio_provisioner/__init__.py", MAIN)
    made.write("packages/minio/tests/unit/test_main.py", TEST)
    # Not released: the runner installs it beside the tests of a provisioner.
    made.write("testkit/pyproject.toml", TESTKIT)
    made.write("testkit/src/testkit/__init__.py", "")
    made.commit("Begin")
    made.tag("libbucket-v0.1.0")
    made.write("libbucket/changes/+more.feature.md", "Another thing of the core.\n")
    made.commit("Say what is new")
    return made


def write_package(workspace: Workspace, directory: str, *, distribution: str) -> None:
    is_core = distribution == "libbucket"
    text = PROJECT.format(
        distribution=distribution,
        module=distribution.replace("-", "_"),
        dependency="" if is_core else '"libbucket>=0.1,<0.2"',
        scripts="" if is_core else SCRIPTS,
    )
    _, mark, settings = (ROOT / directory / "pyproject.toml").read_text().partition("[tool.towncrier]")
    workspace.write(f"{directory}/pyproject.toml", text + mark + settings)
    workspace.write(f"{directory}/README.md", f"# {distribution}\n")
    workspace.write(f"{directory}/CHANGELOG.md", "# Changelog\n\n<!-- towncrier release notes start -->\n")
    workspace.write(f"{directory}/changes/.gitignore", "!.gitignore\n")
    workspace.write(f"{directory}/changes/7.feature.md", "Buckets of your own.\n")
