"""Builds what a release consists of: wheel, sdist, SBOM, image, checksums. The same commit gives the same bytes.

Called by `perform` with a clean clone at the commit of the release. Changes nothing outside the folder that it is given
and the clone.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from release.packages import CORE, Package
from release.refusal import Refused
from release.tools import Tools

if TYPE_CHECKING:
    from packaging.version import Version

    from release.git import Git

BUILDERS: Final = ("docker", "podman", "buildah")
CHECKSUMS: Final = "SHA256SUMS"
IMAGES: Final = ".nox/.cache/images"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to build.

    Attributes:
        clone: the commit of the release, checked out.
        package: as that commit describes it.
        with_image: whether its image is built too.
    """

    clone: Git
    package: Package
    with_image: bool

    @property
    def tools(self) -> Tools:
        """Programs in the clone, for whom now is the time of the commit."""
        return Tools(directory=self.clone.directory, environment={"SOURCE_DATE_EPOCH": self.clone.commit_time()})


def build_all(order: Order, folder: Path) -> None:
    """Fills the folder.

    Raises:
        Refused: something could not be built.
    """
    print("  wheel and sdist", flush=True)
    build_distributions(order, folder)
    print("  SBOM", flush=True)
    build_sbom(order, folder)
    if order.with_image:
        print("  image", flush=True)
        build_image(order, folder)
    write_checksums(folder)


def why_no_image(package: Package) -> str:
    """Why no image of it can be built here; empty if it can."""
    if package.name == CORE:
        return f"{CORE} is a library"
    if not any(map(shutil.which, BUILDERS)):
        return f"none of {', '.join(BUILDERS)} is here"
    return ""


def build_distributions(order: Order, folder: Path) -> None:
    """Wheel and sdist, with the pinned build backend."""
    build(order.tools, order.package.directory, folder)
    order.tools.python("twine", "check", "--strict", *sorted(folder.iterdir()))


def build(tools: Tools, directory: str | Path, folder: Path, *options: str) -> None:
    """Lets uv build one package; what it says is shown if it fails."""
    pins = ["--build-constraints", "requirements/build.txt", "--require-hashes"]
    tools.python("uv", "build", "--no-create-gitignore", "--out-dir", folder, *pins, *options, directory)


def wheel_name(package: Package, version: Version) -> str:
    """The wheel's file name: all of ours are for every platform."""
    return f"{package.file_stem(version)}-py3-none-any.whl"


def sbom_name(package: Package, version: Version) -> str:
    """The file name of the wheel's SBOM; that of the image is inside the image."""
    return f"{wheel_name(package, version)}.cdx.json"


def build_sbom(order: Order, folder: Path) -> None:
    """A CycloneDX list of everything that the wheel runs with, from the pins, with licences.

    It describes a real environment with the wheel in it, whose programs have to start and to know their version.
    """
    package, tools = order.package, order.tools
    with TemporaryDirectory(prefix="libbucket-sbom-") as scratch:
        wheels, environment = Path(scratch) / "wheels", Path(scratch) / "environment"
        binaries = environment / Path(sys.executable).parent.name
        wheels.mkdir()
        shutil.copy(folder / wheel_name(package, package.version), wheels)
        if package.name != CORE:
            build(tools, CORE, wheels, "--wheel")
        tools.python("uv", "venv", "--quiet", "--python", sys.executable, environment)
        install = ["uv", "pip", "install", "--quiet", "--python", str(binaries / "python")]
        tools.python(*install, "--require-hashes", "--requirements", f"requirements/{package.name}.txt")
        # By name from a folder: a wheel that is named by its path would bring that path into the SBOM.
        names = dict.fromkeys((CORE, package.distribution))
        tools.python(*install, "--no-index", "--no-deps", "--no-cache", "--find-links", str(wheels), *names)
        _check_programs(order, binaries)
        described = ["--pyproject", f"{package.directory}/pyproject.toml", "--output-reproducible"]
        tools.python(
            "cyclonedx_py",
            "environment",
            *described,
            "-o",
            folder / sbom_name(package, package.version),
            binaries / "python",
        )


def _check_programs(order: Order, binaries: Path) -> None:
    for script in order.package.scripts:
        said = order.tools.program(binaries / script, "--version")
        if str(order.package.version) not in said:
            raise Refused(f"`{script} --version` of the new wheel says {said.strip()!r}")


def build_image(order: Order, folder: Path) -> None:
    """What the session `image` of that commit leaves: an archive of the image, with its SBOM inside."""
    order.tools.show("nox", "--session", "image", "--", order.package.name)
    made = order.clone.directory / IMAGES / order.package.name
    files = [path for path in made.glob("*") if path.is_file()]
    if not files:
        raise Refused(f"the session `image` left nothing in {IMAGES}/{order.package.name}")
    for path in files:
        shutil.move(path, folder / path.name)


def write_checksums(folder: Path) -> None:
    """The file that `sha256sum --check` reads."""
    paths = sorted(path for path in folder.iterdir() if path.name != CHECKSUMS)
    lines = [f"{hashlib.file_digest(path.open('rb'), 'sha256').hexdigest()}  {path.name}\n" for path in paths]
    (folder / CHECKSUMS).write_text("".join(lines))
