"""Builds the images of provisioners: `nox -s image`, or `nox -s "image(minio)"` for one.

The command line and the exit codes: 0 built, 1 something failed (one sentence says what), 2 wrong usage. For each image
it leaves an archive, its list of parts (`.cdx.json`) and its sizes in the folder of `--out`. An image that was built of
the same before, and is still there, is not built again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.box import SIMPLE
from rich.table import Table

from archive import ImageArchive
from builders import Build, Builder
from choice import find_builder
from contents import Contents, ContentsError, read_contents
from context import DOCKER, ROOT, Provisioner, make_context, read_provisioner, stores
from libbucket.testing.problems import SetupFailed
from libbucket.testing.progress import console
from rootfs import PINS, newest_pins, pinned_packages, read_pins, write_rootfs
from sbom import write_sbom

PREFIX: Final = "localhost"
OUT: Final = ROOT / ".nox/.cache/images"
_PINS_HEAD: Final = "# The packages of the default base. Written by `nox -s lock -- --upgrade`.\n"
MEGABYTE: Final = 1_000_000
LIMITS: Final = {"minio": 90}  # megabytes, unpacked
LIMIT: Final = 130
_LARGEST: Final = 5


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be built, with what.

    Attributes:
        builder: docker, podman or buildah.
        out: where archives and contexts go.
        prefix: what names of images begin with.
        base: an image that has Python; "" makes the default one.
        python: the version of its Python.
        epoch: the date of everything that is ours.
    """

    builder: Builder
    out: Path
    prefix: str
    base: str
    python: str
    epoch: int


def main() -> int:
    """Builds what was asked for."""
    arguments = _parse()
    contents = read_contents(DOCKER / "contents.toml")
    try:
        if arguments.pin_base:
            PINS.write_text(_PINS_HEAD + "".join(f"{pin}\n" for pin in newest_pins(contents)))
            return 0
        order = Order(
            builder=find_builder(arguments.builder),
            out=arguments.out.resolve(),
            prefix=arguments.prefix,
            base=arguments.base,
            python=arguments.python or contents.python,
            epoch=date(),
        )
        base = order.base or build_base(order, contents)
        for store in arguments.stores or stores():
            build_image(order, read_provisioner(store), base)
    except (SetupFailed, ContentsError) as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="images.py", description="Builds the images of provisioners.")
    parser.add_argument("stores", nargs="*", metavar="STORE", help="folders of packages/; without any, all")
    parser.add_argument("--builder", default="", choices=["docker", "podman", "buildah"], help="the one to use")
    parser.add_argument("--base", default="", metavar="IMAGE", help="an image with python3 instead of our own base")
    parser.add_argument("--python", default="", metavar="X.Y", help="the version of that image's Python")
    parser.add_argument("--prefix", default=PREFIX, help="what the images' names begin with, without the last /")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where the results go")
    parser.add_argument("--pin-base", action="store_true", help="write docker/debian.txt anew, and build nothing")
    return parser.parse_args()


def date() -> int:
    """The date of what is built: `SOURCE_DATE_EPOCH`, else that of the commit, else that of the sources' first one."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not given:
        command = ["git", "log", "-1", "--format=%ct"]
        given = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    if not given.isdigit():
        raise SetupFailed("the images have no date: set SOURCE_DATE_EPOCH to a number of seconds, or build in a clone")
    return int(given)


def build_base(order: Order, contents: Contents) -> str:
    """Builds the default base; gives its name."""
    tag = f"{order.prefix}/libbucket-base"
    folder = order.out / "base"
    folder.mkdir(parents=True, exist_ok=True)
    packages = pinned_packages(contents, read_pins(PINS))
    newest = write_rootfs(packages, contents, folder / "rootfs.tar")
    (folder / "Dockerfile").write_bytes((DOCKER / "Dockerfile").read_bytes())
    build_once(order.builder, Build(context=folder, target="debian", tag=tag, epoch=newest), order.out / "base.json")
    return tag


def build_image(order: Order, provisioner: Provisioner, base: str) -> ImageArchive:
    """Builds one image, writes what belongs to it, and shows its sizes."""
    began = time.monotonic()
    folder = order.out / provisioner.store
    context = make_context(provisioner, folder / "context", python=order.python, epoch=order.epoch)
    archive = folder / f"{provisioner.name}-{provisioner.version}.oci.tar"
    build = _build(order, provisioner, context, base)
    if build_once(order.builder, build, folder / "built.json", base) or not archive.is_file():
        order.builder.save(build.tag, archive)
    image = ImageArchive(archive)
    pins = {} if order.base else {pin.name: pin.sha256 for pin in read_pins(PINS)}
    write_sbom(image, provisioner, context, pins, folder / f"{provisioner.name}-{provisioner.version}.cdx.json")
    show(image, provisioner, time.monotonic() - began)
    return image


def build_once(builder: Builder, build: Build, note: Path, *bases: str) -> bool:
    """Builds an image unless the builder still has the one that `note` says was made of the same; gives whether it did.

    Args:
        builder: the builder.
        build: what is built.
        note: a file that says what the last image was made of, and which it was.
        bases: the images that it stands on.
    """
    made_of = fingerprint(build, *map(builder.image_id, bases))
    before = builder.image_id(build.tag)
    if before and note.is_file() and json.loads(note.read_text()) == {"made of": made_of, "image": before}:
        return False
    builder.build(build)
    made = builder.image_id(build.tag)
    note.write_text(json.dumps({"made of": made_of, "image": made}))
    if before not in {"", made}:
        builder.problem("rmi", before)  # which has lost its name; it stays where somebody still uses it
    return True


def fingerprint(build: Build, *bases: str) -> str:
    """A hash of all that an image follows from."""
    digest = hashlib.sha256(repr((build.options, bases)).encode())
    for path in sorted(path for path in build.context.rglob("*") if path.is_file()):
        digest.update(repr((str(path.relative_to(build.context)), path.stat().st_mode)).encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _build(order: Order, provisioner: Provisioner, context: Path, base: str) -> Build:
    return Build(
        context=context,
        target=provisioner.store,
        tag=f"{order.prefix}/{provisioner.name}:{provisioner.version}",
        epoch=order.epoch,
        arguments={
            "BASE": base,
            "STORE": provisioner.store,
            "MODULE": provisioner.module,
            "SCRIPT": provisioner.script,
        },
        labels=labels(provisioner),
    )


def labels(provisioner: Provisioner) -> dict[str, str]:
    """What the image says about itself. Nothing of where it is published: who publishes it knows that."""
    command = ["git", "rev-parse", "HEAD"]
    revision = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    known = {
        "title": provisioner.name,
        "description": provisioner.title,
        "version": provisioner.version,
        "revision": revision,
        "licenses": "Apache-2.0",
        "authors": "The libbucket authors",
    }
    return {f"org.opencontainers.image.{name}": value for name, value in known.items() if value}


def show(image: ImageArchive, provisioner: Provisioner, seconds: float) -> None:
    """Prints the sizes, and ends if the image is larger than is allowed.

    Raises:
        SetupFailed: it is.
    """
    limit = LIMITS.get(provisioner.store, LIMIT)
    title = f"{provisioner.name} {provisioner.version}, {len(image.layers)} layers, {seconds:.1f} s"
    table = Table("part", "", title=title, title_justify="left", box=SIMPLE)
    for part, size in image.parts()[:_LARGEST]:
        table.add_row(part, f"{size / MEGABYTE:.1f} MB")
    table.add_row("all, unpacked", f"{image.unpacked / MEGABYTE:.1f} MB of at most {limit} MB")
    table.add_row("all, compressed", f"{image.compressed / MEGABYTE:.1f} MB")
    console.print(table)
    if image.unpacked > limit * MEGABYTE:
        raise SetupFailed(f"the image of {provisioner.store} is larger than {limit} MB unpacked")


if __name__ == "__main__":
    sys.exit(main())
