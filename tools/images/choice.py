"""Which builder works here, found out by letting it work: one may be there and not be allowed to, or lack its daemon.

Between the command line and the builders. What it builds and runs for that is the smallest program there is, so that
what fails is the builder or the machine, and never something of ours.
"""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING, Final

from builders import LIMITS, Build, Buildah, Builder, Docker, Podman
from libbucket.testing.problems import SetupFailed
from libbucket.testing.processes import fresh_directory
from libbucket.testing.progress import waiting

if TYPE_CHECKING:
    from pathlib import Path

_STAGE: Final = "trial"
_DOCKERFILE: Final = f"""\
FROM scratch AS {_STAGE}
COPY trial /trial
RUN ["/trial"]
ENTRYPOINT ["/trial"]
"""
# An ELF file for x86_64: its header, one segment to load, and `exit(0)` in three instructions.
_PROGRAM: Final = bytes.fromhex(
    "7f454c4602010100000000000000000002003e0001000000780040000000000040000000000000000000000000000000"
    "00000000400038000100000000000000"
    "010000000500000000000000000000000000400000000000000040000000000081000000000000008100000000000000"
    "0010000000000000"
    "31ffb83c0000000f05"
)
# As the chart has a container run.
_RESTRICTED: Final = ("--read-only", "--cap-drop=ALL", "--security-opt", "no-new-privileges", "--user", "65532:65532")


def find_builder(name: str = "", *, to_run: bool = False) -> Builder:
    """The builder of that name, or the first one that works here: podman, docker, buildah.

    Args:
        name: the only one that will do; any without it.
        to_run: whether it has to run images, too.

    Raises:
        SetupFailed: there is none; one sentence, with what those said that are there.
    """
    builders: list[Builder] = [Podman(), Docker(), Buildah()]
    said = []
    for builder in builders:
        if name in {"", builder.name} and shutil.which(builder.name) and (builder.can_run or not to_run):
            problem = what_hinders(builder, to_run=to_run)
            if not problem:
                return builder
            said.append(f"{builder.name}: {problem.rstrip('.')}")
    wanted = name or ("podman or docker" if to_run else "docker, podman or buildah")
    here = f"none that is here works ({'; '.join(said)})" if said else "none is on the PATH"
    raise SetupFailed(
        f"images are {'run' if to_run else 'built'} with {wanted}, and {here}: install one (on Debian and Ubuntu "
        f"`apt-get install podman runc`), or start docker's daemon"
    )


def what_hinders(builder: Builder, *, to_run: bool = False) -> str:
    """What a builder says when it can't build an image here, or run it; empty when it can."""
    tag = f"localhost/libbucket-trial:{secrets.token_hex(4)}"
    with waiting(f"trying {builder.name}"), fresh_directory("trial-") as folder:
        _write_context(folder)
        build = Build(context=folder, target=_STAGE, tag=tag, epoch=0)
        problem = builder.problem(*builder.arguments(build))
        if to_run and not problem:
            problem = builder.problem("run", "--rm", "--network", "none", *LIMITS, *_RESTRICTED, tag)
        builder.problem("rmi", "--force", tag)
    return problem


def _write_context(folder: Path) -> None:
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    (folder / "trial").write_bytes(_PROGRAM)
    (folder / "trial").chmod(0o755)
