"""The conformance suite passes inside an image, with its Python and packages: nothing needed was left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import PathDistribution
from typing import TYPE_CHECKING

import pytest

from testkit.container_images.outside import servers_outside
from testkit.container_images.pods import Container, run_to_end
from testkit.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from images.__main__ import Provisioner
    from images.builders import Builder

WORKERS = max(2, min(4, os.cpu_count() or 2))
PYTHON = "3.13"
SITE_PACKAGES = f"/opt/libbucket/lib/python{PYTHON}/site-packages"
TESTS = "/checkout/packages/{0}/tests/store/test_conformance.py"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="session")
def tools(provisioner: Provisioner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages that run the suite, without any that the image has, or had before `leave-out.sh`."""
    folder = tmp_path_factory.mktemp("tools")
    folder.chmod(0o755)  # the image's user reads it
    command = ["uv", "pip", "install", "--quiet", "--target", str(folder), "--python", sys.executable]
    command += ["--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_28"]
    command += ["--require-hashes", "-r", str(ROOT / "requirements/test.txt")]
    subprocess.run(command, check=True)
    pins = (ROOT / f"requirements/{provisioner.store}.txt").read_text()
    pinned = {normal(name) for name in re.findall(r"(?m)^([\w.-]+)==", pins)}
    for path in folder.glob("*.dist-info"):
        if normal(path.name.partition("-")[0]) in pinned:
            remove_distribution(PathDistribution(path), folder)
    return folder


def remove_distribution(distribution: PathDistribution, folder: Path) -> None:
    """Removes its files, and folders that are then empty."""
    for file in distribution.files or ():
        (folder / file).unlink(missing_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


@pytest.fixture
def servers(provisioner: Provisioner) -> Iterator[str]:
    with servers_outside(provisioner.store, WORKERS) as text:
        yield text


def test_conformance_suite_passes_inside(engine: Builder, provisioner: Provisioner, tools: Path, servers: str) -> None:
    container = Container(
        image=provisioner.tag,
        entry_point="/opt/libbucket/bin/python",
        arguments=(
            "/checkout/testkit/src/testkit/container_images/inside.py",
            provisioner.name.replace("-", "_"),
            "/tools",
            str(WORKERS),
            TESTS.format(provisioner.store),
        ),
        environment={"SERVERS_OUTSIDE": servers},
        mounts={
            "/checkout": ROOT,
            "/tools": tools,
            f"{SITE_PACKAGES}/libbucket/testing": ROOT / "libbucket/src/libbucket/testing",
        },
        scratch={"/tmp": 64 * 2**20},
    )
    ended = run_to_end(engine, container, timeout=1500)

    assert ended.code == 0, ended.output[-4000:]
    assert re.search(r"\d\d passed", ended.last_line)


def test_tools_have_no_package_that_the_image_has(tools: Path) -> None:
    assert (tools / "pytest").is_dir()
    assert not [path.name for path in tools.iterdir() if path.name.startswith(("msgspec", "structlog", "urllib3"))]


def test_distribution_is_removed_with_all_its_files_and_nothing_else(tmp_path: Path) -> None:
    for name in ("kept", "gone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    metadata = tmp_path / "gone-1.dist-info"
    metadata.mkdir()
    (metadata / "RECORD").write_text("gone/__init__.py,,\ngone-1.dist-info/RECORD,,\n")
    remove_distribution(PathDistribution(metadata), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
