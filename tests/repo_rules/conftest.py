"""What the rules of the repository are checked on: the files that git knows, or would add."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Package:
    """A distribution of this repository, and where its parts are."""

    directory: Path
    module: str

    @property
    def source(self) -> Path:
        return self.directory / "src" / self.module


def find_packages() -> list[Package]:
    """The core, and every folder in packages/ that has a pyproject.toml."""
    projects = [ROOT / "libbucket/pyproject.toml", *sorted(ROOT.glob("packages/*/pyproject.toml"))]
    return [
        Package(directory=project.parent, module=source.name)
        for project in projects
        for source in project.parent.glob("src/[a-z]*")
        if source.suffix != ".egg-info"
    ]


@pytest.fixture(params=find_packages(), ids=lambda package: package.module)
def package(request: pytest.FixtureRequest) -> Package:
    """Each distribution in turn."""
    found: Package = request.param
    return found


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def texts() -> dict[Path, str]:
    """Every file that belongs to the repository, committed or about to be, by its path from the top."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    paths = [Path(name) for name in names if name and (ROOT / name).is_file()]
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in paths}
