"""Builds wheel, sdist and SBOM of packages into dist/, and tries wheel and sdist, each alone in an empty environment.

    python tools/wheels.py                 # all packages
    python tools/wheels.py minio           # one
    python tools/wheels.py minio-v0.2.0    # one, if it has that version: a release, from its tag

Run by the session `build`, also in release.yml. The same commit gives the same bytes. The wheel is tried with its pins
from requirements/, and the SBOM lists that environment; the sdist with what its own metadata asks for.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

CORE: Final = "libbucket"
DIST: Final = Path("dist")
_COMPLETION: Final = "kubectl_complete-"
"""Begins the name of a completion for kubectl, to which every argument is a word to complete, `--version` too."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package of this repository, by its folder; `scripts` are the programs that it installs."""

    directory: Path
    distribution: str
    version: str
    scripts: tuple[str, ...]

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"{self.distribution.replace('-', '_')}-{self.version}"


def main(argument: str = "") -> int:
    """Builds and tries what the command line names; 1 with one sentence if something fails."""
    try:
        packages = chosen(argument)
        shutil.rmtree(DIST, ignore_errors=True)
        with TemporaryDirectory(prefix="libbucket-wheels-") as scratch:
            build(Path(CORE), Path(scratch) / "wheels", "--wheel")
            for package in packages:
                build(package.directory, DIST)
                try_wheel(package, Path(scratch))
                try_sdist(package, Path(scratch))
        run("twine", "check", "--strict", *(str(path) for path in DIST.iterdir() if path.suffix != ".json"))
    except (subprocess.CalledProcessError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def chosen(argument: str) -> list[Package]:
    """The packages to build.

    Raises:
        ValueError: there is no such package, or it has another version.
    """
    directories = [Path(CORE), *sorted(path.parent for path in Path("packages").glob("*/pyproject.toml"))]
    packages = {directory.name: read(directory) for directory in directories}
    name, _, version = argument.partition("-v")
    if not argument:
        return list(packages.values())
    if name not in packages:
        raise ValueError(f"there is no package {name!r}; there are {', '.join(packages)}")
    if version and version != packages[name].version:
        raise ValueError(f"{argument} is a tag of version {version}, and {name} here is {packages[name].version}")
    return [packages[name]]


def read(directory: Path) -> Package:
    """Reads a package's pyproject.toml."""
    project = tomllib.loads((directory / "pyproject.toml").read_text())["project"]
    scripts = tuple(project.get("scripts", ()))
    return Package(directory=directory, distribution=project["name"], version=project["version"], scripts=scripts)


def build(directory: Path, folder: Path, *options: str) -> None:
    """Builds one package with the pinned build backend."""
    pins = ["--build-constraints", "requirements/build.txt", "--require-hashes"]
    run("uv", "build", "--quiet", "--no-create-gitignore", "--out-dir", str(folder), *pins, *options, str(directory))


def try_wheel(package: Package, scratch: Path) -> None:
    """Installs a wheel with its pins, starts its programs, and writes the SBOM of that environment."""
    python, install = empty_environment(scratch / "wheel")
    run(*install, "--require-hashes", "--requirements", f"requirements/{package.directory.name}.txt")
    # By name from a folder: a wheel that is named by its path would bring that path into the SBOM.
    folders = [f"--find-links={DIST}", f"--find-links={scratch / 'wheels'}"]
    names = dict.fromkeys((f"{package.distribution}=={package.version}", CORE))
    run(*install, "--no-index", "--no-deps", "--no-cache", *folders, *names)
    run("uv", "pip", "check", "--quiet", "--python", str(python))
    start(package, python)
    described = ["--pyproject", f"{package.directory}/pyproject.toml", "--output-reproducible"]
    run("cyclonedx-py", "environment", *described, "-o", str(DIST / f"{package.stem}.cdx.json"), str(python))


def try_sdist(package: Package, scratch: Path) -> None:
    """Installs an sdist as a user would, with everything that it asks for, and starts its programs."""
    python, install = empty_environment(scratch / "sdist")
    pins = ["--constraints", "requirements/dev.txt", "--build-constraints", "requirements/build.txt"]
    # Else uv may take a wheel of this version from its cache that an earlier commit built.
    fresh = ["--refresh-package", CORE, "--refresh-package", package.distribution]
    run(*install, *pins, *fresh, f"--find-links={scratch / 'wheels'}", str(DIST / f"{package.stem}.tar.gz"))
    start(package, python)


def empty_environment(folder: Path) -> tuple[Path, list[str]]:
    """An environment without packages: its Python, and the command that installs into it."""
    run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
    python = folder / Path(sys.executable).parent.name / "python"
    return python, ["uv", "pip", "install", "--quiet", "--python", str(python)]


def start(package: Package, python: Path) -> None:
    """Imports the core, and starts every program of a package.

    Raises:
        ValueError: a program does not know its version.
    """
    # Isolated: without that, the folder of the same name in this directory could be imported instead.
    run(str(python), "-I", "-c", "import libbucket; libbucket.run")
    for script in package.scripts:
        program = str(python.with_name(script))
        if script.startswith(_COMPLETION):
            run(program, "")
            continue
        run(program, "--help")
        version = run(program, "--version")
        if package.version not in version:
            raise ValueError(f"`{script} --version` of {package.stem} prints {version.strip()!r}")


def run(*command: str) -> str:
    """Runs a program, and gives what it prints; what it says about its failure is shown."""
    print(" ".join(command), flush=True)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
