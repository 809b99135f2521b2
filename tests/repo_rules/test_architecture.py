"""The architecture page and its pictures name the modules, layers and imports that the source has."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import grimp
import pytest

from .test_contributor_docs import CORE, missing, section

if TYPE_CHECKING:
    from pathlib import Path

Arrows = dict[str, set[str]]
"""The names that each name imports."""


def page(root: Path) -> str:
    return (root / "docs/architecture.md").read_text()


def tabled(text: str) -> Arrows:
    """Names in the first column of a table, with the names in its last."""
    rows = re.findall(r"(?m)^\| `(\w+)` \|.*\| ([^|]+) \|$", text)
    return {name: set(re.findall(r"`(\w+)`", imports)) for name, imports in rows}


def imported(within: str) -> Arrows:
    """The direct children of a package, with the other children that each imports."""
    graph = grimp.build_graph("libbucket")
    children = {name: name.rpartition(".")[2] for name in graph.find_children(within)}
    arrows: Arrows = {child: set() for child in children.values()}
    for package, child in children.items():
        for module in {package, *graph.find_descendants(package)}:
            targets = graph.find_modules_directly_imported_by(module)
            arrows[child] |= {other for path, other in children.items() if is_in(path, targets)} - {child}
    return arrows


def is_in(package: str, modules: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for module in modules)


def drawn(svg: str) -> list[set[str]]:
    """The modules of a picture, row by row from the top."""
    rows: dict[float, set[str]] = {}
    for y, name in re.findall(r'<text class="module" x="[\d.]+" y="([\d.]+)">([^<]+)</text>', svg):
        rows.setdefault(float(y), set()).add(name)
    return [rows[y] for y in sorted(rows)]


def layers(root: Path) -> list[set[str]]:
    """The layers of the core that the linter checks, from the top."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (core,) = [one for one in contracts if one["type"] == "layers" and one["containers"] == ["libbucket"]]
    return [set(re.findall(r"\w+", layer)) for layer in core["layers"]]


@pytest.mark.parametrize(("heading", "package"), [("Layers", "libbucket"), ("Life of a claim", "libbucket._reconcile")])
def test_the_tables_have_the_imports_of_the_source(heading: str, package: str, root: Path) -> None:
    assert tabled(section(page(root), heading)) == imported(package)


def test_an_import_that_a_table_lacks_is_found() -> None:
    table = "| `plan` | decides | `model`, `observe` |\n| `model` | values | none |"

    assert tabled(table) == {"plan": {"model", "observe"}, "model": set()}
    assert tabled(table)["plan"] != imported("libbucket._reconcile")["plan"]


def test_the_picture_of_the_layers_has_those_that_the_linter_checks(root: Path) -> None:
    packages = {path.name for path in root.glob("packages/*/src/*_provisioner")}
    rows = [row - packages for row in drawn((root / "docs/architecture-layers.svg").read_text())]

    assert [row for row in rows if row] == layers(root)


def test_the_picture_of_the_layers_has_every_package(root: Path) -> None:
    packages = {path.name for path in root.glob("packages/*/src/*_provisioner")}
    svg = (root / "docs/architecture-layers.svg").read_text()

    assert len(packages) >= 4
    assert {name for row in drawn(svg) for name in row} >= packages


def test_the_claim_lifecycle_figure_has_every_package(root: Path) -> None:
    svg = (root / "docs/architecture-claim.svg").read_text()
    names = set(re.findall(r'class="module"[^>]*>([^<]+)<', svg))
    places = [root / CORE / folder for folder in ("", "_controller", "_reconcile")]
    files = {name: [at / f"{name}{suffix}" for at in places for suffix in ("", ".py")] for name in names}

    assert names >= set(imported("libbucket._reconcile"))
    assert [name for name, paths in files.items() if not any(path.exists() for path in paths)] == []


def test_every_file_that_the_page_names_exists(root: Path) -> None:
    text = page(root)
    named = [name for name in re.findall(r"`(\w[\w./-]+)`", text) if "/" in name or name.endswith((".py", ".md"))]
    core = [name for name in named if (root / CORE / name).exists()]

    assert len(core) > 20
    assert missing(sorted({*named} - {*core}), root) == []


def test_every_action_is_on_the_page(root: Path) -> None:
    actions = (root / CORE / "_reconcile/model/actions.py").read_text()
    names = re.findall(r"\w+", re.findall(r"(?m)^Action = (.+)$", actions)[0])

    assert names
    assert [name for name in names if f"`{name}`" not in page(root)] == []
