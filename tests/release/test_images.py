"""The image is made by the session `image` of the commit that is released, and belongs to the release or ends it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess

    from workspaces import Workspace

# What the real one leaves, and where; tests/container_images tests the real one.
SESSION = """\
from pathlib import Path

import nox


@nox.session(venv_backend="none")
def image(session):
    (store,) = session.posargs
    folder = Path(".nox/.cache/images") / store
    folder.mkdir(parents=True)
    {rest}
"""
WRITE = '(folder / "minio-provisioner-0.2.0.oci.tar").write_text("an image")'


def release_with(workspace: Workspace, rest: str) -> subprocess.CompletedProcess[str]:
    """Releases where there is a builder, and the session ends so."""
    workspace.write("noxfile.py", SESSION.format(rest=rest))
    workspace.commit("Another session")
    programs = workspace.directory.parent / "programs"
    programs.mkdir()
    for name in ("git", "podman"):
        (programs / name).symlink_to(str(shutil.which("git")))
    return workspace.start("release", "minio", "0.2.0", PATH=str(programs))


def test_what_the_session_leaves_is_part_of_the_release(workspace: Workspace) -> None:
    done = release_with(workspace, WRITE)
    folder = workspace.directory / "dist/minio-v0.2.0"

    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "minio-provisioner-0.2.0.oci.tar").read_text() == "an image"
    sums = (folder / "SHA256SUMS").read_text()
    assert {Path(line.split()[1]).suffix for line in sums.splitlines()} == {".whl", ".gz", ".tar", ".json"}


@pytest.mark.parametrize(
    ("rest", "because"),
    [
        ("session.error('no base')", "--session image -- minio` failed; what it said stands above"),
        ("pass", "the session `image` left nothing in .nox/.cache/images/minio"),
    ],
)
def test_without_the_image_that_could_be_made_nothing_is_released(
    rest: str, because: str, workspace: Workspace
) -> None:
    done = release_with(workspace, rest)

    assert done.returncode == 1
    assert because in done.stderr.splitlines()[-1]
    assert workspace.git("tag") == "libbucket-v0.1.0"
    assert workspace.git("log", "-1", "--format=%s") == "Another session"
    assert not (workspace.directory / "dist").exists()
