"""Which libbucket a package is tested with: the oldest and the newest of the range that it declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

if TYPE_CHECKING:
    from release.packages import Package
    from testkit.release.workspaces import Workspace


def a_package(name: str, *, version: str = "0.1.0", core_range: str = "") -> Package:
    from release.packages import Package

    return Package(
        name=name, directory=name, version=Version(version), core_range=SpecifierSet(core_range), fragments=()
    )


@pytest.mark.parametrize(
    ("core_range", "here", "tags", "chosen"),
    [
        (">=0.1,<0.2", "0.1.0", [], [""]),
        (">=0.1,<0.2", "0.1.0", ["v0.1.0"], ["libbucket-v0.1.0", ""]),
        (">=0.1,<0.2", "0.1.9", ["v0.1.10", "v0.1.2"], ["libbucket-v0.1.2", ""]),
        (">=0.2,<0.4", "0.3.0", ["v0.1.0", "v0.2.1"], ["libbucket-v0.2.1", ""]),
        (">=0.1,<0.2", "0.2.0", ["v0.1.0", "v0.1.5"], ["libbucket-v0.1.0", "libbucket-v0.1.5"]),
        (">=0.1,<0.2", "0.2.0", ["v0.1.0"], ["libbucket-v0.1.0"]),
    ],
)
def test_the_lowest_tag_in_the_range_is_chosen_and_this_tree_if_it_is_in_the_range(
    core_range: str, here: str, tags: list[str], chosen: list[str]
) -> None:
    from release.compatibility import choose

    all_tags = ["minio-v0.1.0", *(f"libbucket-{tag}" for tag in tags)]

    assert choose(a_package("minio", core_range=core_range), a_package("libbucket", version=here), all_tags) == chosen


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("minoi", "there is no package 'minoi'; there are libbucket, minio"),
        ("minio", "minio works with libbucket<0.8,>=0.7, and neither this tree nor any tag has that"),
    ],
)
def test_a_package_without_a_libbucket_to_test_with_is_refused(name: str, because: str, workspace: Workspace) -> None:
    workspace.replace("packages/minio/pyproject.toml", "libbucket>=0.1,<0.2", "libbucket>=0.7,<0.8")
    done = workspace.run("-m", "release.compatibility", name)

    assert (done.returncode, done.stderr) == (1, because + "\n")


def test_the_session_tests_with_the_tag_and_with_this_tree(workspace: Workspace) -> None:
    test = "packages/minio/tests/unit/test_main.py"
    workspace.replace("libbucket/src/libbucket/__init__.py", "first", "second")
    workspace.write(test, "import libbucket\n\n\ndef test_name():\n    assert libbucket.NAME in {'first', 'second'}\n")
    command = ("-m", "nox", "-s", "compatibility(minio)")

    done = workspace.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 passed") == 2

    workspace.replace(test, "{'first', 'second'}", "{'first'}")
    done = workspace.run(*command)
    assert done.returncode == 1
    assert done.stdout.count("1 passed") == 1
    assert "assert 'second' in {'first'}" in done.stdout
