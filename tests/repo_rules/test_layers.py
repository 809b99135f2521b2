"""Provisioner packages use the public surface of libbucket only: a rule over all imports, without a list of modules."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUBLISHED = ("packages/*/src/**/*.py", "examples/**/*.py")


def imported_modules(source: str) -> Iterator[str]:
    """The full name of each module or object that a source imports, also within functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def private_imports(source: str) -> list[str]:
    """The imports of private modules and names of libbucket."""
    names = [name.split(".") for name in imported_modules(source)]
    return [".".join(parts) for parts in names if parts[0] == "libbucket" and any(one[:1] == "_" for one in parts)]


def test_provisioner_packages_import_nothing_private_from_libbucket(root: Path) -> None:
    paths = [path for pattern in PUBLISHED for path in root.glob(pattern)]
    found = {str(path.relative_to(root)): private_imports(path.read_text()) for path in paths}

    assert len(paths) > 30
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import libbucket._api",
        "from libbucket import _api",
        "from libbucket._kube.client import KubeClient",
        "from libbucket.provisioner import _USER_ID_PART",
        "def late() -> None:\n    import libbucket._queue as queue",
    ],
)
def test_the_rule_detects_private_imports(source: str) -> None:
    assert private_imports(source)


@pytest.mark.parametrize(
    "source", ["import libbucket", "from libbucket import Owner", "from minio_provisioner import _x"]
)
def test_the_rule_permits_public_imports(source: str) -> None:
    assert private_imports(source) == []
