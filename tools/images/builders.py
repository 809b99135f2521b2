"""Finds docker, podman or buildah, and hides the differences between their command lines. Knows no provisioner."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libbucket.testing.problems import SetupFailed

# crun, the default runtime of podman and buildah, refuses cgroups v1 beside v2; runc supports both.
_RUNTIME: Final = () if Path("/sys/fs/cgroup/cgroup.controllers").exists() else ("--runtime", "runc")
_TIMEOUT_SECONDS: Final = 300


@dataclass(frozen=True)
class Builder:
    """One of the three programs, by its name."""

    name: str

    @property
    def command(self) -> list[str]:
        """The program, with the options that this machine requires."""
        needs_runtime = self.name == "podman" and _RUNTIME
        return [self.name, *(("--cgroup-manager", "cgroupfs", *_RUNTIME) if needs_runtime else ())]

    def build(self, tag: str, date: int, *options: str) -> None:
        """Builds an image; its log goes to the terminal.

        Args:
            tag: name of the image.
            date: of all its files, in seconds since 1970.
            options: that all builders spell alike, and the context.

        Raises:
            SetupFailed: the builder failed.
        """
        # Without layers: the cache of older versions ignores that an argument has changed.
        dated = ("--layers=false", "--timestamp", str(date))
        own = {"docker": (), "podman": dated, "buildah": (*dated, *_RUNTIME)}[self.name]
        epoch = f"SOURCE_DATE_EPOCH={date}"
        self._run("build", *own, "--tag", tag, "--build-arg", epoch, *options, failure=f"could not build {tag}")

    def save(self, tag: str, path: Path) -> None:
        """Writes an image as an OCI archive, or raises `SetupFailed`."""
        path.unlink(missing_ok=True)  # podman and buildah would add to it
        command = {
            "docker": ("save", "--output", str(path), tag),
            "podman": ("save", "--quiet", "--format", "oci-archive", "--output", str(path), tag),
            "buildah": ("push", "--quiet", tag, f"oci-archive:{path}:{tag}"),
        }
        self._run(*command[self.name], failure=f"could not save {tag}")

    def revision(self, tag: str) -> str:
        """The label that names the commit of an image; empty if there is none."""
        label = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
        command = [*self.command, "image", "inspect", "--format", label, tag]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()

    def problem(self, *arguments: str) -> str:
        """The last line that a command prints if it fails; empty if it succeeds."""
        command = [*self.command, *arguments]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return f"no answer within {_TIMEOUT_SECONDS} seconds"
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return lines[-1].removeprefix("Error: ").rstrip(".") if done.returncode else ""

    def _run(self, *arguments: str, failure: str) -> None:
        if subprocess.run([*self.command, *arguments], check=False).returncode:
            raise SetupFailed(f"{self.name} {failure}; its log above has the reason")


def find_builder(*, to_run: bool = False) -> Builder:
    """The first builder that is installed and answers; to run images, which buildah cannot, podman or docker.

    Raises:
        SetupFailed: there is none.
    """
    names = ["podman", "docker"] if to_run else ["podman", "docker", "buildah"]
    problems = []
    for name in filter(shutil.which, names):
        problem = Builder(name).problem("info")
        if not problem:
            return Builder(name)
        problems.append(f"{name}: {problem}")
    found = f"none that is installed works ({'; '.join(problems)})" if problems else "none is installed"
    raise SetupFailed(f"images are {'run' if to_run else 'built'} with {' or '.join(names)}, and {found}")
