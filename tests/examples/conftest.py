"""What the tests of examples share: one control plane for the session, with the bundled CRDs, and blocks of pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Imported, not named in pytest_plugins, which pytest takes only from the conftest at the root.
from libbucket.testing.fixtures import cluster, control_plane, kube_admin, namespace

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cluster", "control_plane", "crd_directories", "kube_admin", "namespace"]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def crd_directories() -> Sequence[Path]:
    return (ROOT / "crds",)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language, in the order in which they stand on the page."""
    return re.findall(rf"(?ms)^ *```{language}\n(.*?)^ *```$", page.read_text())


def commands(page: Path, program: str) -> list[str]:
    """The lines of a page's console blocks that call a program, without the prompt."""
    lines = [line.strip().removeprefix("$ ") for block in blocks(page, "console") for line in block.splitlines()]
    return [line for line in lines if line.split(" ")[0] == program]
