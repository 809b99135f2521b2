"""The command line of `nox -s release`, and the exit codes.

0 done; 1 refused or failed, with one sentence, and nothing changed; 2 wrong usage; 130 interrupted, nothing changed.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from release.artifacts import CHECKSUMS, sbom_name, wheel_name, why_no_image
from release.decide import Plan, World, decide
from release.git import MAIN, Git
from release.packages import CORE, read_packages
from release.perform import DIST, INTERRUPTIONS, core_changes, draft_changelog, rebuild, release
from release.refusal import Refused

if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    """Does what the command line says."""
    for number in INTERRUPTIONS:
        signal.signal(number, _interrupt)
    arguments = _parse()
    try:
        _run(arguments)
    except Refused as refusal:
        sys.stderr.write(f"not released: {refusal}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted: nothing was changed\n")
        return 130
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s release --", description="Releases one package.")
    parser.add_argument("package", nargs="?", help="its folder: libbucket, minio, ...")
    parser.add_argument("version", nargs="?", help="three numbers, such as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    parser.add_argument("--without-image", action="store_true", help="build no image, even where one can be built")
    parser.add_argument("--from-tag", metavar="TAG", help="build the files of a release that has its tag, into dist/")
    arguments = parser.parse_args()
    if bool(arguments.from_tag) == bool(arguments.package):
        parser.error("say either what to release, such as `minio 0.2.0`, or `--from-tag` and a tag")
    if arguments.package and not arguments.version:
        parser.error("say the version too, such as `minio 0.2.0`")
    if arguments.from_tag and arguments.dry_run:
        parser.error("--from-tag changes nothing but dist/, and has no dry run")
    return arguments


def _run(arguments: argparse.Namespace) -> None:
    checkout = Git(directory=Path.cwd())
    if arguments.from_tag:
        _rebuild(arguments, checkout)
        return
    plan = decide(arguments.package, arguments.version, _gather(checkout))
    no_image = "--without-image was given" if arguments.without_image else why_no_image(plan.package)
    if arguments.dry_run:
        print(_describe(plan, no_image, draft_changelog(plan, checkout.directory)))
        return
    print(f"releasing {plan.package.distribution} {plan.version}:", flush=True)
    folder = release(plan, checkout, with_image=not no_image)
    _show(folder, no_image)
    print(f"\n{MAIN} has the commit, and {plan.tag} is its tag. To publish it:\n")
    print(f"    git push --atomic origin {MAIN} {plan.tag}")


def _rebuild(arguments: argparse.Namespace, checkout: Git) -> None:
    package = read_packages(checkout.directory).get(arguments.from_tag.rpartition("-v")[0])
    no_image = why_no_image(package) if package else ""
    if arguments.without_image:
        no_image = "--without-image was given"
    print(f"building {arguments.from_tag} again:", flush=True)
    _show(rebuild(arguments.from_tag, checkout, with_image=not no_image), no_image)


def _gather(checkout: Git) -> World:
    packages = read_packages(checkout.directory)
    return World(
        branch=checkout.branch(),
        changes=checkout.changes(),
        tags=checkout.tags(),
        packages=packages,
        core_changes=core_changes(checkout, packages[CORE]),
    )


def _describe(plan: Plan, no_image: str, news: str) -> str:
    package = plan.package
    wheel, sbom = wheel_name(package, plan.version), sbom_name(package, plan.version)
    files = [wheel, f"{package.file_stem(plan.version)}.tar.gz", sbom, CHECKSUMS]
    change = "stays" if plan.version == package.version else f"{package.version} becomes {plan.version}"
    image = f"no image: {no_image}" if no_image else f"what `nox -s image -- {package.name}` makes"
    lines = [
        f"would release {package.distribution} {plan.version}:",
        f"  {package.directory}/pyproject.toml: version {change}",
        f"  {package.directory}/changes: {', '.join(package.fragments)} would go",
        f"  {package.directory}/CHANGELOG.md would get:",
        "",
        *(f"    {line}".rstrip() for line in news.splitlines()),
        "",
        f"  {MAIN}: one commit, '{plan.subject}'",
        f"  {plan.tag}: an annotated tag on it",
        f"  {DIST}/{plan.tag}: {', '.join(files)}",
        f"  {image}",
        "nothing was changed",
    ]
    return "\n".join(lines)


def _show(folder: Path, no_image: str) -> None:
    print(f"{DIST}/{folder.name} has")
    for path in sorted(folder.iterdir()):
        print(f"  {path.name}, {path.stat().st_size:,} bytes")
    if no_image:
        print(f"  no image: {no_image}")


if __name__ == "__main__":
    sys.exit(main())
