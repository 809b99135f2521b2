"""A release is one commit and one tag on main, or nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.release.workspaces import Workspace

MINIO = ["packages/minio/CHANGELOG.md", "packages/minio/changes/7.feature.md", "packages/minio/pyproject.toml"]


@contextmanager
def half_done(workspace: Workspace) -> Iterator[subprocess.Popen[str]]:
    """A release that has begun."""
    with subprocess.Popen(
        [sys.executable, "-m", "release", "minio", "0.2.0"],
        cwd=workspace.directory,
        env={**os.environ, **workspace.environment, "TMPDIR": str(workspace.directory.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "committing and building minio 0.2.0\n"
        yield running


def test_a_release_is_one_commit_and_one_tag_and_nothing_else(workspace: Workspace) -> None:
    before, refs = workspace.git("rev-parse", "HEAD"), workspace.git("for-each-ref", "--format=%(refname)").split()
    done = workspace.release("minio", "0.2.0")

    assert done.returncode == 0, done.stderr
    assert workspace.git("rev-parse", "HEAD^") == before
    assert workspace.git("diff", "--name-only", "HEAD^", "HEAD").split() == MINIO
    assert workspace.git("log", "-1", "--format=%s by %an") == "Release minio 0.2.0 by Maintainer"
    assert workspace.git("for-each-ref", "--format=%(refname)").split() == sorted([*refs, "refs/tags/minio-v0.2.0"])
    assert workspace.git("status", "--porcelain", "--ignored") == ""
    assert len(workspace.git("worktree", "list").splitlines()) == 1


def test_version_changelog_and_tag_say_what_is_new(workspace: Workspace) -> None:
    done = workspace.release("minio", "0.2.0")
    changelog = (workspace.directory / "packages/minio/CHANGELOG.md").read_text()
    message = workspace.git("tag", "--list", "--format=%(contents)", "minio-v0.2.0")

    assert done.returncode == 0, done.stderr
    assert 'version = "0.2.0"' in (workspace.directory / "packages/minio/pyproject.toml").read_text()
    assert "## 0.2.0 (" in changelog
    assert "### Features\n\n- Buckets of your own. (#7)" in changelog
    assert [path.name for path in (workspace.directory / "packages/minio/changes").iterdir()] == [".gitignore"]
    assert (workspace.directory / "libbucket/changes/7.feature.md").is_file()
    assert workspace.git("cat-file", "-t", "minio-v0.2.0") == "tag"
    assert workspace.git("rev-parse", "minio-v0.2.0^{}") == workspace.git("rev-parse", "main")
    assert message.startswith("minio 0.2.0\n\n## 0.2.0 (")
    assert "### Features\n\n- Buckets of your own. (#7)" in message


def test_a_dry_run_shows_the_commit_and_changes_nothing(workspace: Workspace) -> None:
    before = workspace.state()
    done = workspace.release("minio", "0.2.0", "--dry-run")

    assert (done.returncode, done.stderr) == (0, "")
    assert workspace.state() == before
    assert "Release minio 0.2.0\n" in done.stdout
    assert "- Buckets of your own. (#7)" in done.stdout
    assert [path for path in MINIO if path not in done.stdout] == []
    assert done.stdout.splitlines()[-1].startswith("nothing was changed: ")


def test_a_changed_core_is_released_before_the_provisioner(workspace: Workspace) -> None:
    workspace.replace("libbucket/src/libbucket/__init__.py", "first", "second")
    workspace.commit("Change the core")

    assert [workspace.release(*each).returncode for each in (("libbucket", "0.1.1"), ("minio", "0.2.0"))] == [0, 0]
    assert workspace.git("tag").split() == ["libbucket-v0.1.0", "libbucket-v0.1.1", "minio-v0.2.0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_release_changes_nothing(number: signal.Signals, workspace: Workspace) -> None:
    before = workspace.state()
    with half_done(workspace) as running:
        running.send_signal(number)
        _, said = running.communicate(timeout=60)

    assert (running.returncode, said.strip()) == (130, "interrupted: nothing was changed")
    assert workspace.state() == before
    assert [path.name for path in workspace.directory.parent.iterdir()] == ["libbucket"]


def test_a_commit_that_is_made_meanwhile_is_kept_and_nothing_is_released(workspace: Workspace) -> None:
    with half_done(workspace) as running:
        workspace.write("packages/minio/README.md", "# Edited meanwhile\n")
        workspace.commit("Edit meanwhile")
        refs = workspace.git("for-each-ref")
        _, said = running.communicate(timeout=120)

    assert running.returncode == 1
    assert said.startswith("not released: main or its tree has changed meanwhile, so start again: git merge failed")
    assert workspace.git("for-each-ref") == refs


@pytest.mark.parametrize(("edited", "code"), [("packages/minio/README.md", 0), ("packages/minio/CHANGELOG.md", 1)])
def test_an_edit_that_is_made_meanwhile_is_kept(edited: str, code: int, workspace: Workspace) -> None:
    with half_done(workspace) as running:
        workspace.write(edited, "# Edited meanwhile\n")
        running.communicate(timeout=120)

    assert running.returncode == code
    assert (workspace.directory / edited).read_text() == "# Edited meanwhile\n"
    assert workspace.git("status", "--porcelain") == f"M {edited}"
    assert ("minio-v0.2.0" in workspace.git("tag").split()) is (code == 0)
