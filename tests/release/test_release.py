"""A release is one commit, one tag and one folder of files, the same whenever it is built again; or it is nothing."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from workspaces import Workspace

STEM = "minio_provisioner-0.2.0"
WHEEL = f"{STEM}-py3-none-any.whl"
FILES = ["SHA256SUMS", WHEEL, f"{WHEEL}.cdx.json", f"{STEM}.tar.gz"]
MINIO = ["packages/minio/CHANGELOG.md", "packages/minio/changes/7.feature.md", "packages/minio/pyproject.toml"]


def files_of(workspace: Workspace, tag: str = "minio-v0.2.0") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (workspace.directory / "dist" / tag).iterdir()}


def test_a_release_is_one_commit_one_tag_and_one_folder_and_nothing_else(workspace: Workspace) -> None:
    before, refs = workspace.git("rev-parse", "HEAD"), workspace.git("for-each-ref", "--format=%(refname)").split()
    done = workspace.release("minio", "0.2.0")

    assert done.returncode == 0, done.stderr
    assert workspace.git("rev-parse", "HEAD^") == before
    assert workspace.git("diff", "--name-only", "HEAD^", "HEAD").split() == MINIO
    assert workspace.git("log", "-1", "--format=%s by %an") == "Release minio 0.2.0 by Somebody"
    assert workspace.git("for-each-ref", "--format=%(refname)").split() == sorted([*refs, "refs/tags/minio-v0.2.0"])
    assert workspace.git("status", "--porcelain") == ""
    assert [path.name for path in workspace.directory.glob("dist/*")] == ["minio-v0.2.0"]
    assert sorted(files_of(workspace)) == FILES


def test_the_tag_is_annotated_and_says_what_is_new(released: Workspace) -> None:
    assert released.git("cat-file", "-t", "minio-v0.2.0") == "tag"
    assert released.git("rev-parse", "minio-v0.2.0^{}") == released.git("rev-parse", "main")
    message = released.git("tag", "--list", "--format=%(contents)", "minio-v0.2.0")
    assert message.startswith("minio-provisioner 0.2.0\n\n## 0.2.0 (")
    assert "- Buckets of your own. (#7)" in message


def test_the_fragments_become_a_section_of_the_changelog(released: Workspace) -> None:
    changelog = (released.directory / "packages/minio/CHANGELOG.md").read_text()

    assert "## 0.2.0 (" in changelog
    assert "### Features\n\n- Buckets of your own. (#7)" in changelog
    assert [path.name for path in (released.directory / "packages/minio/changes").iterdir()] == [".gitignore"]
    assert (released.directory / "libbucket/changes/7.feature.md").is_file()


def test_the_checksums_are_those_of_all_the_files(released: Workspace) -> None:
    folder = released.directory / "dist/minio-v0.2.0"
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    checked = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout

    assert sorted(checked.splitlines()) == [f"{name}: OK" for name in [f"{WHEEL}.cdx.json", WHEEL, f"{STEM}.tar.gz"]]


def test_wheel_and_sdist_carry_the_new_version(released: Workspace) -> None:
    folder = released.directory / "dist/minio-v0.2.0"
    with zipfile.ZipFile(folder / WHEEL) as wheel:
        metadata = wheel.read(f"{STEM}.dist-info/METADATA").decode()
    with tarfile.open(folder / f"{STEM}.tar.gz") as sdist:
        names = sdist.getnames()

    assert "Version: 0.2.0\n" in metadata
    assert "Requires-Dist: libbucket<0.2,>=0.1\n" in metadata
    assert f"{STEM}/pyproject.toml" in names


def test_the_sbom_has_what_the_wheel_runs_with_and_its_licences(released: Workspace) -> None:
    sbom = json.loads(files_of(released)[f"{WHEEL}.cdx.json"])
    pins = (released.directory / "requirements/minio.txt").read_text()
    parts = {part["name"]: part for part in sbom["components"]}

    assert sbom["metadata"]["component"]["name"] == "minio-provisioner"
    assert sbom["metadata"]["component"]["version"] == "0.2.0"
    assert parts["libbucket"]["version"] == "0.1.0"
    assert f"minio=={parts['minio']['version']} " in pins
    assert parts["minio"]["licenses"]


def test_the_same_tag_gives_the_same_bytes_elsewhere_later_and_for_another_user(
    released: Workspace, tmp_path: Path
) -> None:
    first = files_of(released)
    other = type(released)(directory=tmp_path / "elsewhere" / "clone")
    mask = os.umask(0o077)
    released.git("clone", "--quiet", ".", str(other.directory))
    try:
        done = other.release("--from-tag", "minio-v0.2.0", TZ="Asia/Tokyo", LC_ALL="C")
    finally:
        os.umask(mask)

    assert done.returncode == 0, done.stderr
    assert {name: content == first[name] for name, content in files_of(other).items()} == dict.fromkeys(FILES, True)


def test_building_again_changes_nothing_but_the_folder(released: Workspace) -> None:
    before, first = released.state(), files_of(released)
    (released.directory / "dist/minio-v0.2.0/SHA256SUMS").write_text("spoilt\n")
    done = released.release("--from-tag", "minio-v0.2.0")

    assert done.returncode == 0, done.stderr
    assert (released.state(), files_of(released)) == (before, first)


def test_the_sbom_and_the_files_name_no_path_of_the_machine(released: Workspace) -> None:
    named = [name for name, content in files_of(released).items() if b"/tmp/" in content]

    assert named == []


def test_a_dry_run_says_all_of_that_and_changes_nothing(workspace: Workspace) -> None:
    before = workspace.state()
    done = workspace.release("minio", "0.2.0", "--dry-run")

    assert (done.returncode, done.stderr) == (0, "")
    assert workspace.state() == before
    assert [line.strip() for line in done.stdout.splitlines() if "## 0.2.0" not in line] == [
        "would release minio-provisioner 0.2.0:",
        "packages/minio/pyproject.toml: version 0.1.0 becomes 0.2.0",
        "packages/minio/changes: 7.feature.md would go",
        "packages/minio/CHANGELOG.md would get:",
        "",
        "",
        "### Features",
        "",
        "- Buckets of your own. (#7)",
        "",
        "main: one commit, 'Release minio 0.2.0'",
        "minio-v0.2.0: an annotated tag on it",
        f"dist/minio-v0.2.0: {WHEEL}, {STEM}.tar.gz, {WHEEL}.cdx.json, SHA256SUMS",
        "no image: --without-image was given",
        "nothing was changed",
    ]


def test_where_nothing_can_build_an_image_that_is_said(workspace: Workspace) -> None:
    git = workspace.directory.parent / "only-git"
    git.mkdir()
    found = subprocess.run(["which", "git"], check=True, capture_output=True, text=True).stdout.strip()
    (git / "git").symlink_to(found)
    done = workspace.start("release", "minio", "0.2.0", "--dry-run", PATH=str(git))

    assert "no image: none of docker, podman, buildah is here" in done.stdout, done.stderr


def test_libbucket_has_no_image(workspace: Workspace) -> None:
    done = workspace.start("release", "libbucket", "0.1.1", "--dry-run")

    assert "no image: libbucket is a library" in done.stdout, done.stderr


def test_the_first_release_is_that_of_the_version_which_is_there(workspace: Workspace) -> None:
    done = workspace.release("minio", "0.1.0")

    assert done.returncode == 0, done.stderr
    assert workspace.git("diff", "--name-only", "HEAD^", "HEAD").split() == MINIO[:2]


def test_when_both_change_libbucket_goes_first_and_then_the_provisioner(workspace: Workspace) -> None:
    workspace.replace("libbucket/src/libbucket/__init__.py", "first", "second")
    workspace.commit("Change the core")

    assert [workspace.release(*each).returncode for each in (("libbucket", "0.1.1"), ("minio", "0.2.0"))] == [0, 0]
    sbom = json.loads(files_of(workspace)[f"{WHEEL}.cdx.json"])
    assert {part["name"]: part["version"] for part in sbom["components"]}["libbucket"] == "0.1.1"
    assert sorted(files_of(workspace, "libbucket-v0.1.1")) == [
        "SHA256SUMS",
        "libbucket-0.1.1-py3-none-any.whl",
        "libbucket-0.1.1-py3-none-any.whl.cdx.json",
        "libbucket-0.1.1.tar.gz",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_release_that_is_interrupted_leaves_nothing(number: signal.Signals, workspace: Workspace) -> None:
    before = workspace.state()
    running = subprocess.Popen(
        [sys.executable, "-m", "release", "minio", "0.2.0", "--without-image"],
        cwd=workspace.directory,
        env={**os.environ, **workspace.environment, "TMPDIR": str(workspace.directory.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    line = next(line for line in running.stdout if "wheel and sdist" in line)
    running.send_signal(number)
    _, said = running.communicate(timeout=60)

    assert line
    assert (running.returncode, said.strip()) == (130, "interrupted: nothing was changed")
    assert workspace.state() == before
    assert [path.name for path in workspace.directory.parent.iterdir()] == ["libbucket"]


@pytest.mark.parametrize("is_committed", [True, False])
def test_what_happens_in_the_checkout_meanwhile_is_not_lost(is_committed: bool, workspace: Workspace) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "release", "minio", "0.2.0", "--without-image"],
        cwd=workspace.directory,
        env={**os.environ, **workspace.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert next(line for line in running.stdout if "wheel and sdist" in line)
    workspace.write("packages/minio/README.md", "# Edited meanwhile\n")
    if is_committed:
        workspace.commit("Edit meanwhile")
    before = workspace.git("for-each-ref"), workspace.git("status", "--porcelain")
    _, said = running.communicate(timeout=120)

    assert running.returncode == 1
    assert said.startswith("not released: main or its tree has changed meanwhile, so start again: ")
    assert (workspace.git("for-each-ref"), workspace.git("status", "--porcelain")) == before
    assert not (workspace.directory / "dist").exists()
    assert (workspace.directory / "packages/minio/README.md").read_text() == "# Edited meanwhile\n"


def test_files_in_dist_are_readable_for_everybody(released: Workspace) -> None:
    folder = released.directory / "dist/minio-v0.2.0"

    assert all(path.stat().st_mode & stat.S_IROTH for path in (folder, *folder.iterdir()))
