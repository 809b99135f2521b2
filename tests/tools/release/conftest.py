"""The fixtures of the tests of releases: a small repository to release from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.release.workspaces import Workspace, make_workspace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A checkout in which libbucket is released, and minio can be."""
    return make_workspace(tmp_path / "libbucket")
