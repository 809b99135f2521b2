"""Finds which libbucket a package has to be tried with, the oldest and the newest of its range, and builds the wheels.

`python -m release.compatibility minio FOLDER` leaves in FOLDER one folder of wheels for each: the package's own and
that libbucket's. The session `compatibility` tries them. Changes nothing else.
"""

from __future__ import annotations

import io
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from release.artifacts import build
from release.decide import find_package
from release.git import Git
from release.packages import CORE, needs, read_packages
from release.refusal import Refused
from release.tools import Tools

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version

    from release.packages import Package


@dataclass(frozen=True, kw_only=True)
class Source:
    """A libbucket to try.

    Attributes:
        version: its version.
        tag: where it is taken from; empty for this tree.
    """

    version: Version
    tag: str

    def __str__(self) -> str:
        return self.tag or f"this tree ({self.version})"


def choose(package: Package, core: Package, tags: Iterable[str]) -> dict[str, Source]:
    """The oldest and the newest libbucket that the package says it works with; the oldest only where they are one.

    What this tree has is newer than all that is released, and is what both are until something is.

    Raises:
        Refused: there is none.
    """
    core_range = package.core_range
    if core_range is None:
        raise Refused(f"{package.directory}/pyproject.toml doesn't say which {CORE} it works with")
    known = [Source(version=each, tag=core.tag(each)) for each in core.released(tags)]
    known.append(Source(version=core.version, tag=""))
    fitting = [each for each in known if each.version in core_range]
    if not fitting:
        raise Refused(f"{package.name} works with {needs(core_range)}, and neither this tree nor any tag has that")
    return {"oldest": fitting[0], "newest": fitting[-1]} if len(fitting) > 1 else {"oldest": fitting[0]}


def build_wheels(checkout: Git, package: Package, source: Source, folder: Path) -> None:
    """The package's wheel, and that libbucket's."""
    tools = Tools(directory=checkout.directory)
    build(tools, package.directory, folder, "--wheel")
    if not source.tag:
        build(tools, CORE, folder, "--wheel")
        return
    with TemporaryDirectory(prefix="libbucket-oldest-") as scratch:
        _extract(checkout, source.tag, Path(scratch))
        build(tools, Path(scratch) / CORE, folder, "--wheel")


def _extract(checkout: Git, tag: str, target: Path) -> None:
    archive = target / "archive.tar"
    checkout.run("archive", "--output", str(archive), tag, CORE)
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as files:
        files.extractall(target, filter="data")


def main(name: str, folder: Path) -> int:
    """Chooses, says what, and builds."""
    checkout = Git(directory=Path.cwd())
    packages = read_packages(checkout.directory)
    try:
        package = find_package(name, packages)
        chosen = choose(package, packages[CORE], checkout.tags())
        for which, source in chosen.items():
            print(f"{name}, {which} {CORE}: {source}", flush=True)
            build_wheels(checkout, package, source, folder / which)
    except Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
