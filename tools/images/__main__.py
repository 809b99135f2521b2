"""The command line: `python -m images [STORE...]`. Exit code 1 and one sentence if an image cannot be built."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.builders import Builder, find_builder
from libbucket.testing.problems import SetupFailed

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = ROOT / "docker/Dockerfile"
OUT: Final = ROOT / ".nox/.cache/images"
MEGABYTE: Final = 1_000_000
LIMITS: Final = {"minio": 90}  # megabytes, unpacked; of the other images LIMIT
LIMIT: Final = 130
DIRTY: Final = "-dirty"
_SECRETS: Final = {"pip.conf": "PIP_CONFIG_FILE", "ca.crt": "SSL_CERT_FILE"}


@dataclass(frozen=True, kw_only=True)
class Provisioner:
    """A package of which there is an image."""

    store: str
    name: str
    version: str

    @property
    def tag(self) -> str:
        """Name of the image on the machine that built it."""
        return f"localhost/{self.name}:{self.version}"


def stores() -> list[str]:
    """Every store that has a package."""
    return sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))


def read_provisioner(store: str) -> Provisioner:
    """Reads the package of a store, or raises `SetupFailed` if there is none."""
    if store not in stores():
        raise SetupFailed(f"there is no provisioner for {store!r}, only for {', '.join(stores())}")
    project = tomllib.loads((ROOT / f"packages/{store}/pyproject.toml").read_text())["project"]
    return Provisioner(store=store, name=project["name"], version=project["version"])


def choose_bases(builder: Builder) -> dict[str, str]:
    """Arguments for the Dockerfile: none where its public images can be pulled, else images of Debian packages."""
    public = re.findall(r"^ARG (?:BUILD|BASE)=(\S+)$", DOCKERFILE.read_text(), flags=re.MULTILINE)
    problem = next(filter(None, (builder.problem("pull", image) for image in public)), "")
    if not problem:
        return {}
    if shutil.which("mmdebstrap") is None:
        needed = "a base of Debian packages needs mmdebstrap, which is not installed"
        raise SetupFailed(f"the public base cannot be pulled ({problem}), and {needed}")
    print(f"The public base cannot be pulled ({problem}): using Debian packages.", file=sys.stderr, flush=True)
    return {"BUILD": "localhost/libbucket-build", "BASE": "localhost/libbucket-base"}


def build_bases(builder: Builder, bases: dict[str, str]) -> None:
    """Builds the images of Debian packages; nothing if the public ones are used."""
    if not bases:
        return
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run([ROOT / "docker/debian-base.sh", folder], check=False).returncode:
            raise SetupFailed("docker/debian-base.sh failed; the line above has the reason")
        for argument, tag in bases.items():
            Path(folder, "Dockerfile").write_text(f"FROM scratch\nADD {argument.lower()}.tar /\n")
            builder.build(tag, 0, folder)


def build_image(builder: Builder, provisioner: Provisioner, bases: dict[str, str], options: argparse.Namespace) -> None:
    """Builds one image, unless that of this commit exists; saves it and checks its size."""
    tag = f"{options.prefix}/{provisioner.name}:{provisioner.version}"
    revision = commit()
    if options.no_cache or builder.revision(tag) != revision or revision.endswith(DIRTY):
        arguments = {"STORE": provisioner.store, "VERSION": provisioner.version, "REVISION": revision, **bases}
        given = ["--file", str(DOCKERFILE), *(["--no-cache"] if options.no_cache else [])]
        given += [f"--build-arg={name}={value}" for name, value in arguments.items()]
        given += [
            f"--secret=id={name},src={os.environ[each]}" for name, each in _SECRETS.items() if os.environ.get(each)
        ]
        builder.build(tag, commit_date(), *given, str(ROOT))
    archive = options.out.resolve() / provisioner.store / f"{provisioner.name}-{provisioner.version}.oci.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    builder.save(tag, archive)
    check_size(provisioner, archive)


def commit() -> str:
    """The commit, with a suffix if an image has more than is committed."""
    changes = _git("status", "--porcelain", "--", "docker", "libbucket", "packages", "requirements")
    return _git("rev-parse", "HEAD") + (DIRTY if changes else "")


def commit_date() -> int:
    """`SOURCE_DATE_EPOCH`, or the date of the commit, in seconds."""
    date = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")
    if not date.isdigit():
        raise SetupFailed("images have the date of a commit: set SOURCE_DATE_EPOCH in seconds, or build in a clone")
    return int(date)


def check_size(provisioner: Provisioner, archive: Path) -> None:
    """Prints the size of an image, or raises `SetupFailed` if it is larger than its limit."""
    limit, size = LIMITS.get(provisioner.store, LIMIT), unpacked_size(archive) / MEGABYTE
    print(f"{archive}: {size:.1f} MB unpacked of at most {limit}, {archive.stat().st_size / MEGABYTE:.1f} MB packed")
    if size > limit:
        raise SetupFailed(f"the image of {provisioner.name} is {size:.1f} MB unpacked, over its limit of {limit} MB")


def unpacked_size(archive: Path) -> int:
    """Bytes of all files in the layers of an archive."""
    size = 0
    with tarfile.open(archive) as image:
        for blob in filter(tarfile.TarInfo.isfile, image):
            with contextlib.suppress(tarfile.ReadError), tarfile.open(fileobj=image.extractfile(blob)) as layer:
                size += sum(file.size for file in layer if file.isfile())
    return size


def refusal(*, to_run: bool) -> str:
    """Why images cannot be built here, or not run; empty if they can."""
    try:
        choose_bases(find_builder(to_run=to_run))
    except SetupFailed as problem:
        return " ".join(str(problem).split())
    return ""


def _git(*arguments: str) -> str:
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(["git", *arguments], check=False, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def main() -> int:
    """Builds the images that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m images", description="Builds the images of provisioners.")
    parser.add_argument("stores", nargs="*", metavar="STORE", help="folders of packages/; default: all")
    parser.add_argument("--prefix", default="localhost", help="registry and path, before the names of the images")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where archives are written")
    parser.add_argument("--no-cache", action="store_true", help="build again what is there")
    parser.add_argument("--check", choices=["build", "run"], help="only print why that is impossible here")
    options = parser.parse_args()
    if options.check:
        print(refusal(to_run=options.check == "run"))
        return 0
    try:
        provisioners = [read_provisioner(store) for store in options.stores or stores()]
        builder = find_builder()
        bases = choose_bases(builder)
        build_bases(builder, bases)
        for provisioner in provisioners:
            build_image(builder, provisioner, bases, options)
    except SetupFailed as problem:
        print(problem, file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
