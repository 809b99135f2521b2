"""Finds docker, podman or buildah, and hides the differences between their command lines. Knows no provisioner."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from libbucket.testing.problems import SetupFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

_CGROUPS_V2: Final = Path("/sys/fs/cgroup/cgroup.controllers")
_TIMEOUT_SECONDS: Final = 300


@dataclass(frozen=True, kw_only=True)
class Build:
    """One image to build.

    Attributes:
        dockerfile: its Dockerfile.
        context: the folder that the Dockerfile copies from.
        tag: name of the image.
        epoch: the date of all files, in seconds.
        arguments: for `ARG`.
        secrets: files that `RUN --mount=type=secret` finds, by id.
        cache: whether layers of an earlier build are used.
    """

    dockerfile: Path
    context: Path
    tag: str
    epoch: int
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    cache: bool = True

    @property
    def options(self) -> list[str]:
        """Arguments that all builders spell alike."""
        given = ["--file", str(self.dockerfile), "--tag", self.tag, *([] if self.cache else ["--no-cache"])]
        for name, value in {**self.arguments, "SOURCE_DATE_EPOCH": str(self.epoch)}.items():
            given += ["--build-arg", f"{name}={value}"]
        for name, path in self.secrets.items():
            given += ["--secret", f"id={name},src={path}"]
        return [*given, str(self.context)]


@dataclass(frozen=True)
class Builder:
    """One of the three programs, by its name."""

    name: str

    @property
    def command(self) -> list[str]:
        """The program, with the options that this machine requires."""
        old = self.name == "podman" and not _CGROUPS_V2.exists()
        return [self.name, *(["--cgroup-manager", "cgroupfs", *self._runtime] if old else [])]

    @property
    def _runtime(self) -> list[str]:
        # crun, the default, refuses cgroups v1 beside v2; runc supports both.
        return [] if _CGROUPS_V2.exists() else ["--runtime", "runc"]

    def build(self, build: Build) -> None:
        """Builds an image; its log goes to the terminal.

        Raises:
            SetupFailed: the builder failed.
        """
        # Without layers: the cache of older versions ignores that an argument has changed.
        dated = ["--layers=false", "--timestamp", str(build.epoch)]
        own = {"docker": [], "podman": dated, "buildah": [*dated, *self._runtime]}
        self._run(["build", *own[self.name], *build.options], f"could not build {build.tag}")

    def save(self, tag: str, path: Path) -> None:
        """Writes an image as an OCI archive.

        Raises:
            SetupFailed: the builder failed.
        """
        path.unlink(missing_ok=True)  # podman and buildah would add to it
        how = {
            "docker": ["save", "--output", str(path), tag],
            "podman": ["save", "--quiet", "--format", "oci-archive", "--output", str(path), tag],
            "buildah": ["push", "--quiet", tag, f"oci-archive:{path}:{tag}"],
        }
        self._run(how[self.name], f"could not save {tag}")

    def revision(self, tag: str) -> str:
        """The label that names the commit of an image; empty if there is none."""
        command = ["image", "inspect", "--format", '{{index .Config.Labels "org.opencontainers.image.revision"}}', tag]
        return subprocess.run([*self.command, *command], check=False, capture_output=True, text=True).stdout.strip()

    def problem(self, *arguments: str) -> str:
        """The last line that a command prints if it fails; empty if it succeeds."""
        command = [*self.command, *arguments]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return f"no answer within {_TIMEOUT_SECONDS} seconds"
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return lines[-1].removeprefix("Error: ").rstrip(".") if done.returncode else ""

    def _run(self, arguments: list[str], failure: str) -> None:
        if subprocess.run([*self.command, *arguments], check=False).returncode:
            raise SetupFailed(f"{self.name} {failure}; its log above has the reason")


def find_builder(*, to_run: bool = False) -> Builder:
    """The first builder that is installed and answers.

    Args:
        to_run: whether it has to run images too, which buildah cannot.

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
