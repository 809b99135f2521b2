"""docker, podman or buildah, told the same thing.

The one place that knows how their command lines differ. Starts them and reads their answers; knows nothing of what is
in an image, nor which of them works here: `choice` finds that out.
"""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from libbucket.testing.problems import SetupFailed
from libbucket.testing.progress import waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNIFIED: Final = Path("/sys/fs/cgroup/cgroup.controllers")
# crun, the usual runtime, refuses a machine where both generations of cgroups are mounted; runc does not.
_OLD_RUNTIME: Final = ("--runtime", "runc")
_LINES: Final = 30
_PATIENCE: Final = 120
# Their defaults ask for more than many a machine allows.
LIMITS: Final = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")


@dataclass(frozen=True, kw_only=True)
class Build:
    """What is built.

    Attributes:
        context: the folder with everything that the Dockerfile copies.
        target: the stage.
        tag: what the result is called.
        epoch: the date of everything in it, in seconds.
        arguments: for the Dockerfile.
        labels: of the image.
    """

    context: Path
    target: str
    tag: str
    epoch: int
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> list[str]:
        """What all builders spell alike. No network: all that is needed is in the context."""
        given = ["--network", "none", "--target", self.target, "--tag", self.tag]
        for name, value in {**self.arguments, "SOURCE_DATE_EPOCH": str(self.epoch)}.items():
            given += ["--build-arg", f"{name}={value}"]
        for name, value in self.labels.items():
            given += ["--label", f"{name}={value}"]
        return given


class Builder(ABC):
    """One of the three programs."""

    name: ClassVar[str]
    can_run: ClassVar[bool] = True  # what it has built

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """The program, with what it needs on this machine."""

    @abstractmethod
    def arguments(self, build: Build) -> list[str]:
        """What the program is told to build an image."""

    def build(self, build: Build) -> None:
        """Builds an image.

        Raises:
            SetupFailed: it could not; with the last lines of what was printed.
        """
        self.run(*self.arguments(build), doing=f"building {build.tag}")

    @abstractmethod
    def save(self, tag: str, path: Path) -> None:
        """Writes an image as an archive in the layout of OCI, from which all three and Kubernetes' runtimes load it."""

    def run(self, *arguments: str, doing: str) -> str:
        """Runs the program; gives what it printed.

        Raises:
            SetupFailed: its exit code was not 0.
        """
        with waiting(doing):
            done = subprocess.run(
                [*self.command, *arguments], check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        if done.returncode:
            tail = "\n    ".join(done.stdout.splitlines()[-_LINES:])
            raise SetupFailed(f"{self.name} failed {doing}; its last lines:\n    {tail}")
        return done.stdout

    def image_id(self, tag: str) -> str:
        """Which image has this name here; empty if none has."""
        command = [*self.command, "images", "--quiet", "--no-trunc", tag]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()

    def problem(self, *arguments: str) -> str:
        """What the program says last when it fails, in one line; empty when it doesn't fail."""
        try:
            done = subprocess.run(
                [*self.command, *arguments], check=False, capture_output=True, text=True, timeout=_PATIENCE
            )
        except subprocess.TimeoutExpired:
            return f"it did not answer within {_PATIENCE} seconds"
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        return (said[-1] if said else f"exit code {done.returncode}") if done.returncode else ""


class Docker(Builder):
    """Docker with BuildKit, and a daemon that answers."""

    name = "docker"

    @property
    def command(self) -> list[str]:
        return ["docker"]

    def arguments(self, build: Build) -> list[str]:
        return ["build", *build.options, str(build.context)]

    def save(self, tag: str, path: Path) -> None:
        self.run("save", "--output", str(path), tag, doing=f"writing {path.name}")


class Podman(Builder):
    """Podman, which needs no daemon."""

    name = "podman"

    @property
    def command(self) -> list[str]:
        return ["podman", *([] if _UNIFIED.exists() else [*_OLD_RUNTIME, "--cgroup-manager", "cgroupfs"])]

    def arguments(self, build: Build) -> list[str]:
        # Else it would keep, and find again, what another date or context made.
        fresh = ["--no-cache", "--layers=false", "--isolation", "oci"]
        return [
            "build",
            *fresh,
            "--timestamp",
            str(build.epoch),
            "--identity-label=false",
            *build.options,
            str(build.context),
        ]

    def save(self, tag: str, path: Path) -> None:
        path.unlink(missing_ok=True)  # it would add to the one that is there
        self.run("save", "--format", "oci-archive", "--output", str(path), tag, doing=f"writing {path.name}")


class Buildah(Podman):
    """Buildah: what podman builds with, alone. It can't run what it has built."""

    name = "buildah"
    can_run = False

    @property
    def command(self) -> list[str]:
        return ["buildah"]

    def arguments(self, build: Build) -> list[str]:
        build_it, *options = super().arguments(build)
        return [build_it, *([] if _UNIFIED.exists() else _OLD_RUNTIME), *options]

    def save(self, tag: str, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.run("push", tag, f"oci-archive:{path}:{tag}", doing=f"writing {path.name}")
