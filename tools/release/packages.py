"""The packages of this repository, as their `pyproject.toml` and `changes/` describe them. Reads; decides nothing."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from packaging.specifiers import SpecifierSet

CORE: Final = "libbucket"


@dataclass(frozen=True, kw_only=True)
class Package:
    """A distribution.

    Attributes:
        name: that of its folder; tags carry it.
        directory: from the top of the repository.
        distribution: what it is published as.
        version: in its pyproject.toml now.
        core_range: which libbucket it says it works with; None for libbucket itself.
        fragments: names of the news fragments that wait in `changes/`.
        scripts: the programs that it installs.
    """

    name: str
    directory: str
    distribution: str
    version: Version
    core_range: SpecifierSet | None
    fragments: tuple[str, ...]
    scripts: tuple[str, ...]

    def tag(self, version: Version | None = None) -> str:
        """The tag of a version, of the present one if none is given."""
        return f"{self.name}-v{version or self.version}"

    def file_stem(self, version: Version) -> str:
        """What the names of its wheel and its sdist begin with."""
        return f"{self.distribution.replace('-', '_')}-{version}"

    def released(self, tags: Iterable[str]) -> list[Version]:
        """The versions that have a tag, lowest first."""
        prefix = f"{self.name}-v"
        return sorted(Version(tag.removeprefix(prefix)) for tag in tags if tag.startswith(prefix))


def read_packages(root: Path) -> dict[str, Package]:
    """All packages below `root`, by their names, libbucket first."""
    projects = [root / CORE / "pyproject.toml", *sorted(root.glob("packages/*/pyproject.toml"))]
    return {project.parent.name: _read(root, project.parent) for project in projects}


def lower_bound(core_range: SpecifierSet) -> Version:
    """The lowest version in a range `>=a,<b`, with its three numbers."""
    lowest = max(Version(each.version) for each in core_range if each.operator == ">=")
    return Version(".".join(str(part) for part in (*lowest.release, 0, 0)[:3]))


def needs(core_range: SpecifierSet) -> str:
    """The range as a `pyproject.toml` writes it: libbucket>=0.1,<0.2."""
    return CORE + ",".join(sorted((str(each) for each in core_range), reverse=True))


def _read(root: Path, directory: Path) -> Package:
    project = tomllib.loads((directory / "pyproject.toml").read_text())["project"]
    needed = (Requirement(each) for each in project.get("dependencies", ()))
    return Package(
        name=directory.name,
        directory=directory.relative_to(root).as_posix(),
        distribution=project["name"],
        version=Version(project["version"]),
        core_range=next((each.specifier for each in needed if each.name == CORE), None),
        fragments=tuple(sorted(path.name for path in directory.glob("changes/*.md"))),
        scripts=tuple(project.get("scripts", ())),
    )
