"""The packages of this repository, as their `pyproject.toml` and `changes/` describe them, and how programs are run."""

from __future__ import annotations

import subprocess
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CORE: Final = "libbucket"


class Refused(Exception):
    """Nothing was changed; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A distribution."""

    name: str  # of its folder; tags carry it
    directory: str  # from the top of the repository
    version: Version  # in its pyproject.toml
    core_range: SpecifierSet  # the versions of libbucket that it works with; empty for libbucket itself
    fragments: tuple[str, ...]  # names of the news fragments in `changes/`

    def tag(self, version: Version | None = None) -> str:
        """The tag of a version; of the present one if none is given."""
        return f"{self.name}-v{version or self.version}"

    def released(self, tags: Iterable[str]) -> list[Version]:
        """The versions that have a tag, lowest first."""
        prefix = f"{self.name}-v"
        return sorted(Version(tag.removeprefix(prefix)) for tag in tags if tag.startswith(prefix))


def read_packages(root: Path) -> dict[str, Package]:
    """All packages below `root`, by their names, libbucket first."""
    projects = [root / CORE / "pyproject.toml", *sorted(root.glob("packages/*/pyproject.toml"))]
    return {project.parent.name: _read(root, project.parent) for project in projects}


def find_package(name: str, packages: dict[str, Package]) -> Package:
    """The package of that name; `Refused` if there is none."""
    if name not in packages:
        raise Refused(f"there is no package {name!r}; there are {', '.join(packages)}")
    return packages[name]


def run(directory: Path, *command: str) -> str:
    """Runs a program in a directory and gives what it prints; `Refused`, with what it said, if it fails."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Refused(f"{' '.join(command[:2])} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _read(root: Path, directory: Path) -> Package:
    project = tomllib.loads((directory / "pyproject.toml").read_text())["project"]
    needed = (Requirement(each) for each in project.get("dependencies", ()))
    return Package(
        name=directory.name,
        directory=directory.relative_to(root).as_posix(),
        version=Version(project["version"]),
        core_range=next((each.specifier for each in needed if each.name == CORE), SpecifierSet()),
        fragments=tuple(sorted(path.name for path in directory.glob("changes/*.md"))),
    )
