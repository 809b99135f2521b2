"""Nothing that was left out of an image is needed: the conformance suite passes inside it, with its own Python."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import PathDistribution
from typing import TYPE_CHECKING

import pytest
from outside import ROOT, servers_outside
from pods import Container, run_to_end

from contents import read_contents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from archive import ImageArchive
    from builders import Builder
    from context import Provisioner

WORKERS = max(2, min(4, os.cpu_count() or 2))
TESTS = "/checkout/packages/{0}/tests/store/test_conformance.py"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="session")
def tools(provisioner: Provisioner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the suite is run with, without anything that the image has, or had before it was left out."""
    folder = tmp_path_factory.mktemp("tools")
    folder.chmod(0o755)  # the image's user reads it
    python = read_contents(ROOT / "docker/contents.toml").python
    command = ["uv", "pip", "install", "--quiet", "--target", str(folder), "--python", sys.executable]
    command += ["--python-version", python, "--python-platform", "x86_64-manylinux_2_28"]
    command += ["--require-hashes", "-r", str(ROOT / "requirements/test.txt")]
    subprocess.run(command, check=True)
    theirs = {normal(name) for name in re.findall(r"(?m)^([\w.-]+)==", provisioner.pins.read_text())}
    for path in folder.glob("*.dist-info"):
        if normal(path.name.partition("-")[0]) in theirs:
            remove_distribution(PathDistribution(path), folder)
    return folder


def remove_distribution(distribution: PathDistribution, folder: Path) -> None:
    """Takes away its files, and folders that are then empty."""
    for file in distribution.files or ():
        (folder / file).unlink(missing_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


@pytest.fixture(scope="session")
def site_packages(image: ImageArchive) -> str:
    """Where the image has its packages."""
    found = next(path for path in image.entries if path.endswith("/site-packages/libbucket/run.py"))
    return "/" + found.removesuffix("/libbucket/run.py")


@pytest.fixture
def servers(provisioner: Provisioner) -> Iterator[str]:
    with servers_outside(provisioner.store, WORKERS) as text:
        yield text


def test_the_conformance_suite_passes_inside(
    engine: Builder, provisioner: Provisioner, tools: Path, site_packages: str, servers: str
) -> None:
    container = Container(
        image=provisioner.tag,
        entry_point="/opt/libbucket/bin/python",
        arguments=(
            "/checkout/tests/images/support/inside.py",
            provisioner.module,
            "/tools",
            "/checkout/testkit/src",
            str(WORKERS),
            TESTS.format(provisioner.store),
        ),
        environment={"SERVERS_OUTSIDE": servers},
        mounts={
            "/checkout": ROOT,
            "/tools": tools,
            f"{site_packages}/libbucket/testing": ROOT / "libbucket/src/libbucket/testing",
        },
        scratch={"/tmp": 64 * 2**20},
    )
    ended = run_to_end(engine, container, timeout=1500)

    assert ended.code == 0, ended.output[-4000:]
    assert re.search(r"\d\d passed", ended.last_line)


def test_a_package_that_the_suite_brings_does_not_stand_in_for_one_that_was_left_out(tools: Path) -> None:
    assert (tools / "pytest").is_dir()
    assert not [path.name for path in tools.iterdir() if path.name.startswith(("aiohttp", "kubernetes", "urllib3"))]


def test_what_is_taken_away_is_gone_and_nothing_else(tmp_path: Path) -> None:
    for name in ("kept", "gone"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    metadata = tmp_path / "gone-1.dist-info"
    metadata.mkdir()
    (metadata / "RECORD").write_text("gone/__init__.py,,\ngone-1.dist-info/RECORD,,\n")
    remove_distribution(PathDistribution(metadata), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
