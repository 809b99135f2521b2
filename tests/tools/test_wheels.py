"""What `nox -s build` leaves in dist/: wheel, sdist and SBOM, tried, and identical when a tag is rebuilt."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from testkit.release.workspaces import Workspace, make_workspace

if TYPE_CHECKING:
    from pathlib import Path

STEM = "minio_provisioner-0.1.0"
FILES = [f"{STEM}-py3-none-any.whl", f"{STEM}.cdx.json", f"{STEM}.tar.gz"]


def files_of(workspace: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((workspace.directory / "dist").iterdir())}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "libbucket")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A checkout after `nox -s build -- minio-v0.1.0`."""
    made = make_workspace(tmp_path_factory.mktemp("built") / "libbucket")
    done = made.wheels("minio-v0.1.0")
    assert done.returncode == 0, done.stderr
    return made


def test_wheel_sdist_and_sbom_are_in_dist(built: Workspace) -> None:
    assert list(files_of(built)) == FILES
    with zipfile.ZipFile(built.directory / "dist" / FILES[0]) as wheel:
        metadata = wheel.read(f"{STEM}.dist-info/METADATA").decode()
    with tarfile.open(built.directory / "dist" / FILES[2]) as sdist:
        names = sdist.getnames()

    assert "Version: 0.1.0\n" in metadata
    assert "Requires-Dist: libbucket<0.2,>=0.1\n" in metadata
    assert f"{STEM}/pyproject.toml" in names


def test_the_sbom_lists_the_pins_with_their_licences(built: Workspace) -> None:
    sbom = json.loads(files_of(built)[FILES[1]])
    parts = {part["name"]: part for part in sbom["components"]}
    pins = (built.directory / "requirements/minio.txt").read_text()

    assert sbom["metadata"]["component"]["name"] == "minio-provisioner"
    assert parts["libbucket"]["version"] == "0.1.0"
    assert f"minio=={parts['minio']['version']} " in pins
    assert parts["minio"]["licenses"]


def test_no_file_contains_a_path_of_the_machine(built: Workspace) -> None:
    assert [name for name, content in files_of(built).items() if b"/tmp/" in content] == []


def test_the_same_commit_gives_the_same_bytes_elsewhere_and_for_another_user(built: Workspace, tmp_path: Path) -> None:
    other = Workspace(directory=tmp_path / "elsewhere" / "clone")
    mask = os.umask(0o077)
    try:
        built.git("clone", "--quiet", ".", str(other.directory))
        done = other.wheels("minio", TZ="Asia/Tokyo", LC_ALL="C")
    finally:
        os.umask(mask)

    assert done.returncode == 0, done.stderr
    assert files_of(other) == files_of(built)


@pytest.mark.parametrize(
    ("argument", "because"),
    [
        ("minoi", "there is no package 'minoi'; there are libbucket, minio"),
        ("minio-v0.2.0", "minio-v0.2.0 is a tag of version 0.2.0, and minio here is 0.1.0"),
    ],
)
def test_a_tag_of_another_version_is_not_built(argument: str, because: str, workspace: Workspace) -> None:
    done = workspace.wheels(argument)

    assert (done.returncode, done.stderr) == (1, f"{because}\n")
    assert not (workspace.directory / "dist").exists()


def test_a_program_that_does_not_start_fails_the_build(workspace: Workspace) -> None:
    workspace.replace("packages/minio/src/minio_provisioner/__init__.py", "libbucket.NAME", "libbucket.GONE")
    done = workspace.wheels("minio")

    assert done.returncode == 1
    assert "has no attribute 'GONE'" in done.stderr


def test_a_wheel_that_needs_more_than_its_pins_fails_the_build(workspace: Workspace) -> None:
    workspace.replace("packages/minio/pyproject.toml", '"libbucket>=0.1,<0.2"', '"libbucket>=0.1,<0.2", "matplotlib"')
    done = workspace.wheels("minio")

    assert done.returncode == 1
    assert "matplotlib" in done.stderr
