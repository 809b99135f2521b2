"""Carries a plan out: commit, tag and builds in a scratch clone, and at the end everything is handed over in one step.

So whatever fails on the way, or is interrupted, leaves the checkout as it was. Decides nothing that `decide` decides.
"""

from __future__ import annotations

import shutil
import signal
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Final

from release.artifacts import Order, build_all
from release.git import MAIN, Git, scratch_clone
from release.packages import CORE, read_packages
from release.refusal import Refused
from release.tools import Tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release.decide import Plan
    from release.packages import Package

DIST: Final = "dist"
INTERRUPTIONS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def release(plan: Plan, checkout: Git, *, with_image: bool) -> Path:
    """Makes the release and gives the folder with its files.

    Raises:
        Refused: something failed; nothing was changed.
    """
    with scratch_clone(checkout, MAIN) as clone, _staging(checkout) as staging:
        print("  changelog, commit and tag", flush=True)
        commit_and_tag(plan, clone)
        build_all(_order(clone, plan.package.name, with_image=with_image), staging)
        with _undisturbed():
            target = _put_in_place(staging, checkout, plan.tag)
            try:
                clone.push_to_origin(MAIN, plan.tag)
            except Refused as refusal:
                shutil.rmtree(target)
                raise Refused(f"{MAIN} or its tree has changed meanwhile, so start again: {refusal}") from None
    return target


def rebuild(tag: str, checkout: Git, *, with_image: bool) -> Path:
    """Builds the files of a release that has its tag, and gives their folder.

    Raises:
        Refused: there is no such tag, or something failed; nothing was changed.
    """
    name, _, version = tag.rpartition("-v")
    if tag not in checkout.tags():
        raise Refused(f"there is no tag {tag!r} here")
    with scratch_clone(checkout, tag) as clone, _staging(checkout) as staging:
        found = read_packages(clone.directory).get(name)
        if found is None or str(found.version) != version:
            raise Refused(f"the commit of {tag} has no package {name!r} of version {version!r}")
        build_all(_order(clone, name, with_image=with_image), staging)
        with _undisturbed():
            return _put_in_place(staging, checkout, tag)


def draft_changelog(plan: Plan, directory: Path) -> str:
    """The section that the changelog would get."""
    return _towncrier(plan, directory, "--draft").strip()


def commit_and_tag(plan: Plan, clone: Git) -> None:
    """Version and changelog as one commit, and an annotated tag on it that says what is new."""
    news = draft_changelog(plan, clone.directory)
    project = plan.package.directory
    tools = Tools(directory=clone.directory)
    tools.python("uv", "version", "--quiet", "--frozen", "--project", project, str(plan.version))
    _towncrier(plan, clone.directory, "--yes")
    clone.run("add", "--", project)
    clone.run("commit", "--quiet", "--message", plan.subject)
    title = f"{plan.package.distribution} {plan.version}"
    # Else git takes the headings for comments.
    clone.run("tag", "--annotate", "--cleanup=whitespace", "--message", f"{title}\n\n{news}\n", plan.tag)


def core_changes(checkout: Git, core: Package) -> tuple[str, ...]:
    """What has changed in libbucket since the tag of its version, as far as it is installed."""
    if core.tag() not in checkout.tags():
        return ()
    return checkout.differing(core.tag(), f"{CORE}/src", f"{CORE}/pyproject.toml")


def _order(clone: Git, name: str, *, with_image: bool) -> Order:
    return Order(clone=clone, package=read_packages(clone.directory)[name], with_image=with_image)


def _towncrier(plan: Plan, directory: Path, *options: str) -> str:
    project = plan.package.directory
    where = ["--config", f"{project}/pyproject.toml", "--dir", project]
    what = ["--version", str(plan.version), "--date", f"{datetime.now(UTC):%Y-%m-%d}"]
    return Tools(directory=directory).python("towncrier", "build", *options, *where, *what)


@contextmanager
def _staging(checkout: Git) -> Iterator[Path]:
    """A folder on the same disk as the place where the files will be, so that they get there in one step."""
    dist = checkout.directory / DIST
    is_new = not dist.exists()
    dist.mkdir(exist_ok=True)
    parent = Path(mkdtemp(prefix=".building-", dir=dist))
    try:
        staging = parent / "files"
        staging.mkdir()
        yield staging
    finally:
        shutil.rmtree(parent)
        if is_new and not any(dist.iterdir()):
            dist.rmdir()


def _put_in_place(staging: Path, checkout: Git, tag: str) -> Path:
    target = checkout.directory / DIST / tag
    # What is there is of a run that was killed, or has been built again now.
    shutil.rmtree(target, ignore_errors=True)
    return staging.rename(target)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The last step takes a moment, and is not interrupted."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTIONS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
