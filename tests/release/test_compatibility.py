"""Which libbucket a package is tried with: the oldest and the newest of the range that it declares."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

if TYPE_CHECKING:
    from pathlib import Path

    from workspaces import Workspace

    from release.packages import Package


def a_package(name: str = "minio", *, version: str = "0.1.0", core_range: str = "") -> Package:
    from release.packages import Package

    return Package(
        name=name,
        directory=name,
        distribution=name,
        version=Version(version),
        core_range=SpecifierSet(core_range) if core_range else None,
        fragments=(),
        scripts=(),
    )


@pytest.mark.parametrize(
    ("core_range", "here", "tags", "chosen"),
    [
        (">=0.1,<0.2", "0.1.0", [], {"oldest": "this tree (0.1.0)"}),
        (">=0.1,<0.2", "0.1.0", ["v0.1.0"], {"oldest": "libbucket-v0.1.0", "newest": "this tree (0.1.0)"}),
        (">=0.1,<0.2", "0.1.9", ["v0.1.10", "v0.1.2"], {"oldest": "libbucket-v0.1.2", "newest": "this tree (0.1.9)"}),
        (">=0.2,<0.4", "0.3.0", ["v0.1.0", "v0.2.1"], {"oldest": "libbucket-v0.2.1", "newest": "this tree (0.3.0)"}),
        (">=0.1,<0.2", "0.2.0", ["v0.1.0", "v0.1.5"], {"oldest": "libbucket-v0.1.0", "newest": "libbucket-v0.1.5"}),
    ],
)
def test_it_is_the_lowest_tag_in_the_range_and_this_tree_if_that_is_in_it(
    core_range: str, here: str, tags: list[str], chosen: dict[str, str]
) -> None:
    from release.compatibility import choose

    all_tags = ["minio-v0.1.0", *(f"libbucket-{tag}" for tag in tags)]
    found = choose(a_package(core_range=core_range), a_package("libbucket", version=here), all_tags)

    assert {which: str(source) for which, source in found.items()} == chosen


@pytest.mark.parametrize("name", ["minoi", "minio"])
def test_a_package_that_there_is_nothing_to_try_with_is_refused_in_one_sentence(
    name: str, workspace: Workspace
) -> None:
    workspace.replace("packages/minio/pyproject.toml", "libbucket>=0.1,<0.2", "libbucket>=0.7,<0.8")
    done = workspace.start("release.compatibility", name, str(workspace.directory / "wheels"))

    because = {
        "minoi": "there is no package 'minoi'; there are libbucket, minio",
        "minio": "minio works with libbucket>=0.7,<0.8, and neither this tree nor any tag has that",
    }
    assert (done.returncode, done.stderr) == (1, because[name] + "\n")


def test_the_oldest_is_built_from_its_tag_and_the_newest_from_this_tree(workspace: Workspace, tmp_path: Path) -> None:
    workspace.replace("libbucket/src/libbucket/__init__.py", "first", "second")
    done = workspace.start("release.compatibility", "minio", str(tmp_path / "wheels"))

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "minio, oldest libbucket: libbucket-v0.1.0",
        "minio, newest libbucket: this tree (0.1.0)",
    ]
    assert {which: name_in(tmp_path / "wheels" / which) for which in ("oldest", "newest")} == {
        "oldest": "first",
        "newest": "second",
    }
    assert workspace.git("status", "--porcelain") == "M libbucket/src/libbucket/__init__.py"


def name_in(wheels: Path) -> str:
    """What the libbucket among these wheels says when it is imported."""
    for path in wheels.glob("*.whl"):
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(wheels / "installed")
    code = "import libbucket, minio_provisioner; print(libbucket.NAME)"
    command = [sys.executable, "-S", "-c", code]
    environment = {"PYTHONPATH": str(wheels / "installed")}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()
