"""The scripts that docker/Dockerfile calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Programs

DOCKER = Path(__file__).parents[3] / "docker"
EVERY = [
    "libbucket/testing/offline.py", "libbucket/_cli/commands.py",
    "libbucket-1.dist-info/RECORD", "libbucket-1.dist-info/INSTALLER", "libbucket-1.dist-info/direct_url.json",
]  # fmt: skip
KEPT = ["libbucket/run.py", "libbucket-1.dist-info/METADATA"]
AWS = ["botocore/data/ec2/1/service-2.json", "botocore/data/s3/1/examples-1.json"]
AWS_KEPT = ["botocore/data/s3/1/service-2.json", "botocore/data/endpoints.json"]


def environment(folder: Path, *files: str) -> Path:
    site_packages = folder / "lib/python3.13/site-packages"
    for file in (*EVERY, *KEPT, "libbucket/x.pyi", *files):
        (site_packages / file).parent.mkdir(parents=True, exist_ok=True)
        (site_packages / file).touch()
    (folder / "bin").mkdir()
    for name in ("aws-s3-provisioner", "activate", "normalizer"):
        (folder / "bin" / name).touch()
    (folder / "bin/python").symlink_to(sys.executable)
    return folder


def leave_out(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(DOCKER / "leave-out.sh"), str(folder), "aws-s3"]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_what_a_provisioner_needs_is_kept_and_nothing_else(tmp_path: Path) -> None:
    folder = environment(tmp_path, *AWS, *AWS_KEPT)
    done = leave_out(folder)
    site_packages = folder / "lib/python3.13/site-packages"
    left = {str(path.relative_to(site_packages)) for path in site_packages.rglob("*") if path.is_file()}

    assert done.returncode == 0, done.stderr
    assert left == {*KEPT, *AWS_KEPT}
    assert {path.name for path in (folder / "bin").iterdir()} == {"aws-s3-provisioner", "python"}


@pytest.mark.parametrize("path", ["libbucket/testing", "libbucket/_cli"])
def test_path_that_does_not_exist_fails_the_build(path: str, tmp_path: Path) -> None:
    folder = environment(tmp_path, *AWS, *AWS_KEPT)
    shutil.rmtree(folder / "lib/python3.13/site-packages" / path)
    done = leave_out(folder)

    assert done.returncode == 1
    assert path in done.stderr


def compiled(folder: Path) -> dict[str, bytes]:
    """Runs docker/bytecode.py on a small environment; gives the bytecode of its modules."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/provisioner").write_text("import sys\nimport imported\nsys.exit(0)\n")
    for name in ("imported", "other"):
        (folder / f"{name}.py").write_text("answer = 42\n")
    variables = {
        "PYTHONPATH": str(folder),
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "SOURCE_DATE_EPOCH": "86400",
    }
    subprocess.run([sys.executable, DOCKER / "bytecode.py", folder], check=True, env={**os.environ, **variables})
    return {path.name: path.read_bytes() for path in (folder / "bytecode").rglob("*.pyc") if folder.name in str(path)}


def test_bytecode_is_that_of_imported_modules_and_the_same_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    first = compiled(folder)
    shutil.rmtree(folder)
    second = compiled(folder)
    tag = sys.implementation.cache_tag

    assert f"imported.{tag}.pyc" in first
    assert f"other.{tag}.pyc" not in first
    assert first == second


def test_all_files_have_the_date_of_the_commit(tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    compiled(folder)

    assert {path.lstat().st_mtime for path in (folder, *folder.rglob("*"))} == {86400}


def test_base_of_debian_packages_is_refused_without_mmdebstrap(tmp_path: Path, programs: Programs) -> None:
    command = [DOCKER / "debian-base.sh", tmp_path]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={"PATH": str(programs.folder)})

    assert done.returncode == 1
    assert done.stderr == (
        "a base of Debian packages needs mmdebstrap, which is not installed: 'apt-get install mmdebstrap'\n"
    )
