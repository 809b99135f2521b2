"""What leads a newcomer through the repository is true: the glossary, the map, the files that a new store touches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CORE = "libbucket/src/libbucket"


def modules_in_glossary(text: str) -> list[str]:
    """The module paths in the last column of the glossary's tables."""
    columns = [line.rstrip("| ").rpartition(" | ")[2] for line in text.splitlines() if line.startswith("| ")]
    return [name for column in columns for name in re.findall(r"`([\w/]+\.py)`", column)]


def missing(names: list[str], under: Path) -> list[str]:
    return [name for name in names if not (under / name).exists()]


def test_every_module_that_the_glossary_names_exists(root: Path) -> None:
    modules = modules_in_glossary((root / "docs/glossary.md").read_text())

    assert len(modules) > 40
    assert missing(modules, root / CORE) == []


def test_a_module_that_does_not_exist_is_found(root: Path) -> None:
    row = "| reconcile | see `errors.py` | `errors.py`, `_reconcile/act.py` |"

    assert missing(modules_in_glossary(row), root / CORE) == ["_reconcile/act.py"]


def test_each_term_is_in_the_glossary_once(root: Path) -> None:
    terms = re.findall(r"(?m)^\| ([^|]+) \|", (root / "docs/glossary.md").read_text())
    terms = [term for term in terms if term not in {"term", "---"}]

    assert sorted(set(terms)) == sorted(terms)
