"""What is not released: one sentence each, and nothing changed. `test_release` has the twins that succeed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from workspaces import Workspace


def assert_refused(workspace: Workspace, *arguments: str, because: str) -> None:
    """Says so in one line, also when it is only asked what it would do, and leaves everything as it is."""
    before = workspace.state()
    for more in ((), ("--dry-run",)):
        done = workspace.release(*arguments, *more)
        assert (done.returncode, done.stderr, done.stdout) == (1, f"not released: {because}\n", "")
    assert workspace.state() == before


def test_a_package_that_is_not_there(workspace: Workspace) -> None:
    assert_refused(workspace, "minoi", "0.2.0", because="there is no package 'minoi'; there are libbucket, minio")


@pytest.mark.parametrize("version", ["0.2", "v0.2.0", "0.2.0rc1", "0.02.0", "0.2.0+local", "next"])
def test_a_version_that_is_none(version: str, workspace: Workspace) -> None:
    because = f"'{version}' is no version: it takes three numbers, such as 0.2.0"

    assert_refused(workspace, "minio", version, because=because)


def test_another_branch_than_main(workspace: Workspace) -> None:
    workspace.git("switch", "--quiet", "--create", "topic")

    assert_refused(workspace, "minio", "0.2.0", because="releases are made on main, and this is topic")


def test_no_branch_at_all(workspace: Workspace) -> None:
    workspace.git("switch", "--quiet", "--detach")

    because = "releases are made on main, and no branch is checked out here"
    assert_refused(workspace, "minio", "0.2.0", because=because)


def test_a_tree_with_changes(workspace: Workspace) -> None:
    workspace.write("packages/minio/README.md", "# Edited\n")
    workspace.write("forgotten.md", "A file that git does not know.\n")

    because = "the tree has changes that are not committed: M packages/minio/README.md, ?? forgotten.md"
    assert_refused(workspace, "minio", "0.2.0", because=because)


def test_a_tag_that_is_there(workspace: Workspace) -> None:
    workspace.tag("minio-v0.2.0")

    because = "there is a tag minio-v0.2.0 already, and what is released stays as it is: take a higher version"
    assert_refused(workspace, "minio", "0.2.0", because=because)


@pytest.mark.parametrize("version", ["0.0.9", "0.1.0"])
def test_a_version_that_is_not_higher_than_that_of_a_released_package(version: str, workspace: Workspace) -> None:
    workspace.tag("minio-v0.0.1")

    because = f"{version} is not higher than 0.1.0, which is the version of minio now"
    assert_refused(workspace, "minio", version, because=because)


def test_a_version_that_is_lower_than_what_was_released_from_elsewhere(workspace: Workspace) -> None:
    workspace.tag("minio-v0.3.0")

    because = "0.2.0 is not higher than 0.3.0, which is the version of minio now"
    assert_refused(workspace, "minio", "0.2.0", because=because)


def test_a_package_with_nothing_new(workspace: Workspace) -> None:
    (workspace.directory / "packages/minio/changes/7.feature.md").unlink()
    workspace.commit("Take the news away")

    because = "packages/minio/changes has no news fragment, and a release says what is new"
    assert_refused(workspace, "minio", "0.2.0", because=because)


def test_a_provisioner_before_the_oldest_libbucket_that_it_needs(workspace: Workspace) -> None:
    workspace.git("tag", "--delete", "libbucket-v0.1.0")

    because = "minio needs libbucket>=0.1,<0.2, and there is no libbucket-v0.1.0: release or fetch it first"
    assert_refused(workspace, "minio", "0.2.0", because=because)


def test_a_provisioner_before_the_libbucket_of_this_tree(workspace: Workspace) -> None:
    workspace.replace("libbucket/pyproject.toml", '"0.1.0"', '"0.1.1"')
    workspace.commit("Raise a version by hand")

    because = "minio needs libbucket>=0.1,<0.2, and there is no libbucket-v0.1.1: release or fetch it first"
    assert_refused(workspace, "minio", "0.2.0", because=because)


def test_a_provisioner_whose_range_leaves_out_the_libbucket_of_this_tree(workspace: Workspace) -> None:
    workspace.replace("packages/minio/pyproject.toml", "libbucket>=0.1,<0.2", "libbucket>=0.2,<0.3")
    workspace.commit("Ask for what is not there yet")

    because = "minio works with libbucket>=0.2,<0.3, and libbucket here is 0.1.0"
    assert_refused(workspace, "minio", "0.2.0", because=because)


def test_a_provisioner_while_libbucket_has_changes_that_are_not_released(workspace: Workspace) -> None:
    workspace.replace("libbucket/src/libbucket/__init__.py", "first", "second")
    workspace.commit("Change the core")

    because = (
        "libbucket has changed since libbucket-v0.1.0, and goes first when both change: "
        "libbucket/src/libbucket/__init__.py"
    )
    assert_refused(workspace, "minio", "0.2.0", because=because)


def test_a_libbucket_that_a_provisioner_does_not_work_with(workspace: Workspace) -> None:
    because = (
        "minio works with libbucket>=0.1,<0.2 and so not with 0.2.0: "
        "widen the range in packages/minio/pyproject.toml first"
    )
    assert_refused(workspace, "libbucket", "0.2.0", because=because)


@pytest.mark.parametrize(
    ("arguments", "because"),
    [
        ((), "say either what to release, such as `minio 0.2.0`, or `--from-tag` and a tag"),
        (("minio",), "say the version too, such as `minio 0.2.0`"),
        (("minio", "0.2.0", "--from-tag", "minio-v0.2.0"), "say either what to release"),
        (("--from-tag", "minio-v0.2.0", "--dry-run"), "--from-tag changes nothing but dist/, and has no dry run"),
    ],
)
def test_a_command_line_that_says_too_little_or_too_much(
    arguments: tuple[str, ...], because: str, workspace: Workspace
) -> None:
    before = workspace.state()
    done = workspace.release(*arguments)

    assert done.returncode == 2
    assert because in done.stderr.splitlines()[-1]
    assert workspace.state() == before


@pytest.mark.parametrize(
    ("tag", "because"),
    [
        ("minio-v0.9.0", "there is no tag 'minio-v0.9.0' here"),
        ("nonsense", "there is no tag 'nonsense' here"),
        ("other-v1.0.0", "the commit of other-v1.0.0 has no package 'other' of version '1.0.0'"),
        ("minio-v1.0.0", "the commit of minio-v1.0.0 has no package 'minio' of version '1.0.0'"),
    ],
)
def test_a_tag_that_stands_for_no_release(tag: str, because: str, workspace: Workspace) -> None:
    workspace.tag("other-v1.0.0")
    workspace.tag("minio-v1.0.0")
    before = workspace.state()
    done = workspace.release("--from-tag", tag)

    assert (done.returncode, done.stderr) == (1, f"not released: {because}\n")
    assert workspace.state() == before


def test_a_wheel_that_can_not_be_built(workspace: Workspace) -> None:
    workspace.replace("packages/minio/pyproject.toml", "README.md", "GONE.md")
    workspace.commit("Name a page that is not there")
    before = workspace.state()
    done = workspace.release("minio", "0.2.0")

    assert done.returncode == 1
    assert "uv build" in done.stderr.partition("\n")[0]
    assert "GONE.md" in done.stderr
    assert workspace.state() == before


def test_a_wheel_whose_program_does_not_start(workspace: Workspace) -> None:
    workspace.replace("packages/minio/src/minio_provisioner/__init__.py", "libbucket.NAME", "libbucket.GONE")
    workspace.commit("Break the program")
    before = workspace.state()
    done = workspace.release("minio", "0.2.0")

    assert done.returncode == 1
    assert "has no attribute 'GONE'" in done.stderr
    assert workspace.state() == before


def test_a_directory_that_is_no_checkout(workspace: Workspace) -> None:
    shutil.rmtree(workspace.directory / ".git")
    done = workspace.release("minio", "0.2.0")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("not released: git branch failed: fatal: not a git repository")
    assert len(done.stderr.splitlines()) == 1
