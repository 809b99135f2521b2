"""What all tests of images share: the images that were built, what is in them, and what runs them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from images.__main__ import OUT, Provisioner, read_provisioner, stores
from images.builders import Builder, find_builder
from libbucket.testing.fixtures import cluster, control_plane, kube_admin, namespace
from libbucket.testing.problems import SetupFailed
from testkit.container_images.pods import Container, run_to_end
from testkit.repository import CRDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["cluster", "control_plane", "crd_directories", "kube_admin", "namespace"]

LIST = """
import json, os
found = {}
for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = [each for each in folders if each not in ("dev", "proc", "run", "sys")]
    for name in files + folders:
        path = os.path.join(folder, name)
        status = os.lstat(path)
        link = os.readlink(path) if os.path.islink(path) else ""
        found[path] = [status.st_size, status.st_mode & 0o7777, status.st_uid, status.st_gid, link]
print(json.dumps(found))
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store", action="append", default=[], choices=stores(), help="whose image; default: all")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "provisioner" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--store") or stores()
        metafunc.parametrize("provisioner", [read_provisioner(name) for name in chosen], ids=chosen, scope="session")


@pytest.fixture(scope="session")
def crd_directories() -> Sequence[Path]:
    return (CRDS,)


@pytest.fixture(scope="session")
def archive(provisioner: Provisioner) -> Path:
    """What `nox -s image` left."""
    return OUT / provisioner.store / f"{provisioner.name}-{provisioner.version}.oci.tar"


@pytest.fixture(scope="session")
def engine() -> Builder:
    """What runs images: podman or docker. buildah cannot; the size of what it built can still be checked."""
    try:
        return find_builder(to_run=True)
    except SetupFailed as problem:
        pytest.skip(str(problem))


@pytest.fixture(scope="session")
def inspected(engine: Builder, provisioner: Provisioner) -> dict[str, Any]:
    """Configuration and layers of the image."""
    return inspect(engine, provisioner.tag)


def inspect(engine: Builder, tag: str) -> dict[str, Any]:
    command = [*engine.command, "image", "inspect", tag]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)[0]
    return found


def python_in(provisioner: Provisioner, code: str, *, user: str = "65532:65532") -> Container:
    """Runs Python code in an image."""
    python = "/opt/libbucket/bin/python"
    return Container(image=provisioner.tag, entry_point=python, arguments=("-c", code), user=user, network="none")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file, folder or link in an image."""

    size: int
    mode: int
    owner: tuple[int, int]
    target: str


@pytest.fixture(scope="session")
def entries(engine: Builder, provisioner: Provisioner) -> dict[str, Entry]:
    """Everything in the image by path, as its Python finds it."""
    ended = run_to_end(engine, python_in(provisioner, LIST, user="0:0"))
    assert ended.code == 0, ended.output
    return {
        path: Entry(size=size, mode=mode, owner=(user, group), target=target)
        for path, (size, mode, user, group, target) in json.loads(ended.last_line).items()
    }
