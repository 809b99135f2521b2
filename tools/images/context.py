"""The folder that one image is built from: wheels, pins, what to leave out. Everything that needs the network is here.

Between the repository and the builder. What is downloaded is checked against the hashes of `requirements/`, here and
again when it is installed; what is ours is built from the tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libbucket.testing.problems import SetupFailed
from libbucket.testing.progress import waiting

ROOT: Final = Path(__file__).parents[2]
DOCKER: Final = ROOT / "docker"
HERE: Final = Path(__file__).parent
_CORE: Final = ROOT / "libbucket"
_MACHINE: Final = "x86_64"


@dataclass(frozen=True, kw_only=True)
class Provisioner:
    """One of the packages, as its pyproject.toml has it."""

    store: str
    name: str
    version: str
    title: str
    module: str
    script: str

    @property
    def directory(self) -> Path:
        """Its folder."""
        return ROOT / "packages" / self.store

    @property
    def pins(self) -> Path:
        """What it depends on, with hashes."""
        return ROOT / "requirements" / f"{self.store}.txt"

    @property
    def tag(self) -> str:
        """What its image is called on the machine that built it, unless somebody says otherwise."""
        return f"localhost/{self.name}:{self.version}"


def stores() -> list[str]:
    """The names of all provisioners' folders."""
    return sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))


def read_provisioner(store: str) -> Provisioner:
    """Reads a package's own description.

    Raises:
        SetupFailed: there is no such package.
    """
    path = ROOT / "packages" / store / "pyproject.toml"
    if not path.is_file():
        raise SetupFailed(f"there is no provisioner {store!r}: only {', '.join(stores())}")
    project = tomllib.loads(path.read_text())["project"]
    script, entry = next(iter(project["scripts"].items()))
    return Provisioner(
        store=store,
        name=project["name"],
        version=project["version"],
        title=project["description"],
        module=entry.partition(".")[0],
        script=script,
    )


def make_context(provisioner: Provisioner, folder: Path, *, python: str, epoch: int) -> Path:
    """Makes the folder anew.

    Args:
        provisioner: whose image is to be built.
        folder: where; what is there is replaced, but for wheels that were downloaded before.
        python: the version that the base has, such as 3.13.
        epoch: the date of what is in our own wheels.

    Raises:
        SetupFailed: a wheel can't be had or made.
    """
    shutil.rmtree(folder / "ours", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for source in (DOCKER / "Dockerfile", DOCKER / "contents.toml", HERE / "assemble.py", HERE / "contents.py"):
        shutil.copyfile(source, folder / source.name)
    shutil.copyfile(provisioner.pins, folder / "requirements.txt")
    _download(provisioner.pins, folder / "wheels", python)
    _download(ROOT / "requirements/pip.txt", folder / "pip", python)
    for project in (_CORE, provisioner.directory):
        _build(project, folder / "ours", epoch)
    return folder


def _download(pins: Path, folder: Path, python: str) -> None:
    """Wheels for the base, whatever machine and Python this is."""
    where = folder.with_suffix(".new")
    shutil.rmtree(where, ignore_errors=True)
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--require-hashes",
        "--no-deps",
        "--dest",
        where,
    ]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    for minor in (34, 28, 27, 17, 12, 5):
        command += ["--platform", f"manylinux_2_{minor}_{_MACHINE}"]
    command += ["--platform", f"manylinux2014_{_MACHINE}", "--platform", f"linux_{_MACHINE}", "-r", pins]
    if not _succeeds([*command, "--no-index", "--find-links", folder]):  # most often all are there from the last time
        _run(command, f"fetching wheels of {pins.name}")
    shutil.rmtree(folder, ignore_errors=True)
    where.rename(folder)


def _build(project: Path, folder: Path, epoch: int) -> None:
    command: list[str | Path] = ["uv", "build", "--quiet", "--wheel", "--out-dir", folder, project]
    command += ["--build-constraints", ROOT / "requirements/build.txt", "--require-hashes"]
    _run(command, f"building the wheel of {project.name}", SOURCE_DATE_EPOCH=str(epoch))
    (folder / ".gitignore").unlink(missing_ok=True)


def _succeeds(command: list[str | Path]) -> bool:
    return subprocess.run(list(map(str, command)), check=False, capture_output=True).returncode == 0


def _run(command: list[str | Path], doing: str, **environment: str) -> None:
    with waiting(doing):
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            cwd=ROOT,
            env={**os.environ, **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    if done.returncode:
        tail = "\n    ".join(done.stdout.splitlines()[-10:])
        raise SetupFailed(f"{Path(str(command[0])).name} failed {doing}:\n    {tail}")
