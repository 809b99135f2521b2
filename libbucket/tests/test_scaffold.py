"""`libbucket new`: a whole package for a store of any name, and sentences about names that it refuses."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from libbucket._cli.commands import main
from libbucket._cli.scaffold import render

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "writing-a-provisioner.md"
NAMES = ["s3", "depot", "my-object-store-two"]


@pytest.mark.parametrize("name", NAMES)
def test_the_package_has_the_stores_name_everywhere_and_is_python(name: str) -> None:
    files = dict(render(name))

    for path, text in files.items():
        if name != "depot":
            assert "depot" not in (path + text).lower(), path
        assert "@@" not in path + text
        if path.endswith(".py"):
            ast.parse(text)


def test_the_package_has_the_files_of_the_packages_of_this_repository() -> None:
    minio = ROOT / "packages" / "minio"
    modules = {path.name for path in (minio / "src/minio_provisioner").glob("*.py")} - {"access.py"}
    top = {path.name for path in minio.iterdir() if path.is_file()}
    files = set(dict(render("depot")))

    assert {f"src/depot_provisioner/{name}" for name in modules} <= files
    assert {
        "src/depot_provisioner/py.typed",
        "tests/store/test_conformance.py",
        "tests/unit/test_parameters.py",
    } <= files
    assert top - {"uv.lock"} <= files


def test_each_todo_names_a_section_of_the_guide() -> None:
    headings = [line.lstrip("# ") for line in GUIDE.read_text().splitlines() if line.startswith("#")]
    text = " ".join(" ".join(text.replace("#", " ").split()) for path, text in render("depot") if path != "LICENSE")
    named = re.findall(r"\(guide: ([^)]+)\)", text)

    assert len(named) > 12
    assert [each for each in named if not any(heading.startswith(each) for heading in headings)] == []
    assert text.count("TODO: ") <= len(named) + 1, "each TODO names its section; the first one explains them"


@pytest.mark.parametrize("name", ["", "Depot", "1st", "a_b", "a--b", "-a", "a-", "../a", "a" * 21])
def test_a_name_that_is_no_name_of_a_package_is_refused(name: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["new", "--directory", str(tmp_path), "--", name])

    assert done.exit_code == 2
    assert "lower-case letters, digits and inner dashes" in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_not_touched(tmp_path: Path) -> None:
    run = ["new", "depot", "--directory", str(tmp_path)]
    first = CliRunner().invoke(main, run)
    mark = tmp_path / "depot-provisioner" / "README.md"
    mark.write_text("mine")
    second = CliRunner().invoke(main, run)

    assert first.exit_code == 0, first.output
    assert (second.exit_code, mark.read_text()) == (1, "mine")
    assert "exists: choose another name" in second.output


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(main, ["new", "depot", "--directory", str(tmp_path / "file")])

    assert done.exit_code == 1
    assert "cannot write" in done.output
