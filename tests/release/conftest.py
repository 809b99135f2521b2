"""The fixtures of the tests of releases: a repository in small, to release from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path[:0] = [str(Path(__file__).parent / "support"), str(Path(__file__).parents[2] / "tools")]

if TYPE_CHECKING:
    from workspaces import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A checkout of the test's own."""
    from workspaces import make_workspace

    return make_workspace(tmp_path / "libbucket")


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A checkout after `nox -s release -- minio 0.2.0`, for all tests that only look."""
    from workspaces import make_workspace

    made = make_workspace(tmp_path_factory.mktemp("released") / "libbucket")
    done = made.release("minio", "0.2.0")
    assert done.returncode == 0, done.stderr
    return made
