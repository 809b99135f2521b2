"""The built site: `nox -s docs` builds it, and names its folder in an environment variable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder with the pages."""
    folder = Path(os.environ["LIBBUCKET_SITE"]) / "html"
    assert (folder / "index.html").is_file()
    return folder
