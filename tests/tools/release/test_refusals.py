"""What is not released: one sentence for each reason, and nothing changed; and the control, which is released."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.release.workspaces import Workspace

MINIO = ("minio", "0.2.0")
CORE = "libbucket/src/libbucket/__init__.py"
PROJECT = "packages/minio/pyproject.toml"


def leave_changes(workspace: Workspace) -> None:
    workspace.write("packages/minio/README.md", "# Edited\n")
    workspace.write("untracked.md", "A file that git does not know.\n")


def remove_news(workspace: Workspace) -> None:
    (workspace.directory / "packages/minio/changes/7.feature.md").unlink()
    workspace.commit("Remove the news")


def raise_core_version(workspace: Workspace) -> None:
    workspace.replace("libbucket/pyproject.toml", '"0.1.0"', '"0.1.1"')
    workspace.commit("Raise a version without a release")


def require_newer_core(workspace: Workspace) -> None:
    workspace.replace(PROJECT, "libbucket>=0.1,<0.2", "libbucket>=0.2,<0.3")
    workspace.commit("Require what does not exist yet")


def change_core(workspace: Workspace) -> None:
    workspace.replace(CORE, "first", "second")
    workspace.commit("Change the core")


REFUSED = {
    "unknown package": (None, ("minoi", "0.2.0"), "there is no package 'minoi'; there are libbucket, minio"),
    "another branch": (
        lambda workspace: workspace.git("switch", "--quiet", "--create", "topic"),
        MINIO,
        "releases are made on main, and this is topic",
    ),
    "no branch": (
        lambda workspace: workspace.git("switch", "--quiet", "--detach"),
        MINIO,
        "releases are made on main, and no branch is checked out here",
    ),
    "uncommitted changes": (
        leave_changes,
        MINIO,
        "the tree has changes that are not committed: M packages/minio/README.md, ?? untracked.md",
    ),
    "existing tag": (
        lambda workspace: workspace.tag("minio-v0.2.0"),
        MINIO,
        "there is a tag minio-v0.2.0 already, and what is released stays as it is: take a higher version",
    ),
    "same version as a released package": (
        lambda workspace: workspace.tag("minio-v0.0.1"),
        ("minio", "0.1.0"),
        "0.1.0 is not higher than 0.1.0, which is the version of minio now",
    ),
    "lower version than a tag": (
        lambda workspace: workspace.tag("minio-v0.3.0"),
        MINIO,
        "0.2.0 is not higher than 0.3.0, which is the version of minio now",
    ),
    "no news": (
        remove_news,
        MINIO,
        "packages/minio/changes has no news fragment, and a release says what is new",
    ),
    "oldest core of the range not released": (
        lambda workspace: workspace.git("tag", "--delete", "libbucket-v0.1.0"),
        MINIO,
        "minio needs libbucket<0.2,>=0.1, and there is no libbucket-v0.1.0: release or fetch it first",
    ),
    "core of this tree not released": (
        raise_core_version,
        MINIO,
        "minio needs libbucket<0.2,>=0.1, and there is no libbucket-v0.1.1: release or fetch it first",
    ),
    "core of this tree outside of the range": (
        require_newer_core,
        MINIO,
        "minio works with libbucket<0.3,>=0.2, and libbucket here is 0.1.0",
    ),
    "unreleased changes of the core": (
        change_core,
        MINIO,
        f"libbucket has changed since libbucket-v0.1.0, and goes first when both change: {CORE}",
    ),
    "core outside of the range of a provisioner": (
        None,
        ("libbucket", "0.2.0"),
        f"minio works with libbucket<0.2,>=0.1 and so not with 0.2.0: widen the range in {PROJECT} first",
    ),
}
REFUSED |= {
    f"version {each}": (None, ("minio", each), f"{each!r} is no version: it takes three numbers, such as 0.2.0")
    for each in ("0.2", "v0.2.0", "0.2.0rc1", "0.02.0", "0.2.0+local", "next")
}


@pytest.mark.parametrize(("prepare", "arguments", "because"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_one_sentence_and_changes_nothing(
    prepare: Callable[[Workspace], object] | None, arguments: tuple[str, str], because: str, workspace: Workspace
) -> None:
    if prepare is not None:
        prepare(workspace)
    before = workspace.state()

    for options in ((), ("--dry-run",)):
        done = workspace.release(*arguments, *options)
        assert (done.returncode, done.stderr, done.stdout) == (1, f"not released: {because}\n", "")
    assert workspace.state() == before


@pytest.mark.parametrize("arguments", [MINIO, ("minio", "0.1.0"), ("libbucket", "0.1.1")], ids=" ".join)
def test_without_the_reason_for_a_refusal_the_same_is_released(
    arguments: tuple[str, str], workspace: Workspace
) -> None:
    done = workspace.release(*arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert workspace.git("log", "-1", "--format=%s") == f"Release {' '.join(arguments)}"
    assert "-v".join(arguments) in workspace.git("tag").split()


def test_a_package_that_can_not_be_built_is_not_released(workspace: Workspace) -> None:
    workspace.replace(PROJECT, "README.md", "GONE.md")
    workspace.commit("Name a page that does not exist")
    before = workspace.state()
    done = workspace.release(*MINIO)

    assert done.returncode == 1
    assert done.stderr.startswith("not released: uv build failed: ")
    assert "GONE.md" in done.stderr
    assert workspace.state() == before


def test_a_directory_that_is_no_checkout_is_refused(workspace: Workspace) -> None:
    shutil.rmtree(workspace.directory / ".git")
    done = workspace.release(*MINIO)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("not released: git branch failed: fatal: not a git repository")


@pytest.mark.parametrize("arguments", [(), ("minio",), ("minio", "0.2.0", "now")])
def test_wrong_usage_has_its_own_exit_code(arguments: tuple[str, ...], workspace: Workspace) -> None:
    assert workspace.release(*arguments).returncode == 2
