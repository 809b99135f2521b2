"""The fixtures of the tests of releases: a small repository to release from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from testkit.release.workspaces import Workspace, make_workspace

sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A checkout in which libbucket is released, and minio can be."""
    return make_workspace(tmp_path / "libbucket")
