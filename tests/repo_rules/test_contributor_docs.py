"""Contributor documentation is correct: glossary, map, and the shared files that a new store changes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from .test_house import MODULES

if TYPE_CHECKING:
    from collections.abc import Mapping

CORE = "libbucket/src/libbucket"
OF_STORES = ("deploy", "docs", "examples", "packages", "requirements")
"""Folders with files for single stores, generated files, and pages that may name all stores in passing."""
BRANDS = {"aws-s3": "aws", "gcs": "gcs|google"}
"""Of stores whose name is not that of their package."""


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


def section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def first_column(text: str) -> list[str]:
    """The paths in the first column of a section's tables."""
    return re.findall(r"(?m)^ *\| `([^`]+)` \|", text)


def names_of(store: str) -> re.Pattern[str]:
    """How files name a store: by its package, or by its brand."""
    return re.compile(rf"(?i)(?<![a-z])({BRANDS.get(store, store)})")


def name_all(stores: list[str], texts: Mapping[Path, str]) -> set[str]:
    """The shared files that name every store: a new store has to be added to each of them."""
    words = [names_of(store) for store in stores]
    shared = {path: text for path, text in texts.items() if path.parts[0] not in OF_STORES}
    return {str(path) for path, text in shared.items() if all(word.search(text) for word in words)}


def test_the_map_has_every_folder(root: Path, texts: dict[Path, str]) -> None:
    mapped = first_column(section((root / "CONTRIBUTING.md").read_text(), "Map"))
    tops = {f"{path.parts[0]}/" for path in texts if len(path.parts) > 1} - {"tests/", "tools/", "packages/", ".ci/"}
    nested = {
        "/".join(path.parts[:2]) + "/" for path in texts if path.parts[0] in {"tests", "tools"} and path.parts[2:]
    }

    assert sorted({*mapped}) == sorted(mapped)
    assert sorted((tops | nested) - {*mapped}) == []
    assert missing([name for name in mapped if "<" not in name], root) == []


def test_add_a_store_names_every_shared_file(root: Path, texts: dict[Path, str]) -> None:
    stores = sorted(path.parent.name for path in root.glob("packages/*/pyproject.toml"))
    listed = first_column(section((root / "CONTRIBUTING.md").read_text(), "Add a store"))

    assert sorted(name_all(stores, texts) - {*listed}) == []
    words = [names_of(store) for store in stores]
    texts_listed = [(name, texts[Path(name)]) for name in listed if "<" not in name]
    assert [name for name, text in texts_listed if not any(word.search(text) for word in words)] == []
    for store in stores:
        names = [name.replace("<store>", store) for name in listed]
        modules = [name.replace(store, store.replace("-", "_")) if name.endswith(".py") else name for name in names]
        assert missing(modules, root) == []


def test_a_file_that_names_every_store_is_found_and_one_that_names_some_is_not() -> None:
    texts = {Path("a.py"): "AWS_S3 minio", Path("b.py"): "minio", Path("packages/minio/c.py"): "aws-s3, minio"}
    texts |= {Path("docs/d.md"): "aws-s3, minio", Path("e.yml"): "MinIO, AWS"}

    assert name_all(["aws-s3", "minio"], texts) == {"a.py", "e.yml"}


def test_add_a_store_names_the_modules_of_a_package(root: Path) -> None:
    step = section((root / "CONTRIBUTING.md").read_text(), "Add a store").partition("with the modules")[2]

    assert re.findall(r"`(\w+)`", step.partition(". ")[0]) == list(MODULES)
