"""Decides whether a package may be released, and refuses in one sentence. No I/O.

The order of the checks is the order in which their causes are corrected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from packaging.version import Version

from release.packages import CORE, Package, Refused, find_package

MAIN: Final = "main"
_VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True, kw_only=True)
class State:
    """What the decision depends on."""

    branch: str  # empty if none is checked out
    changes: list[str]  # what is not committed
    tags: list[str]
    packages: dict[str, Package]
    core_changes: list[str]  # files of libbucket that differ from the tag of its version; empty without such a tag


def check(name: str, version: str, state: State) -> Package:
    """The package, if it may be released as this version; else `Refused`."""
    package = find_package(name, state.packages)
    if not _VERSION.fullmatch(version):
        raise Refused(f"{version!r} is no version: it takes three numbers, such as 0.2.0")
    if state.branch != MAIN:
        where = f"this is {state.branch}" if state.branch else "no branch is checked out here"
        raise Refused(f"releases are made on {MAIN}, and {where}")
    if state.changes:
        raise Refused(f"the tree has changes that are not committed: {', '.join(map(str.strip, state.changes))}")
    _check_version(package, Version(version), state)
    if not package.fragments:
        raise Refused(f"{package.directory}/changes has no news fragment, and a release says what is new")
    if package.name == CORE:
        _check_ranges(Version(version), state)
    else:
        _check_core(package, state)
    return package


def _check_version(package: Package, version: Version, state: State) -> None:
    tag, released = package.tag(version), package.released(state.tags)
    if tag in state.tags:
        raise Refused(f"there is a tag {tag} already, and what is released stays as it is: take a higher version")
    latest = max([package.version, *released])
    # The very first release is that of the version which pyproject.toml has had all the time.
    is_first = version == package.version and not released
    if version <= latest and not is_first:
        raise Refused(f"{version} is not higher than {latest}, which is the version of {package.name} now")


def _check_ranges(version: Version, state: State) -> None:
    for each in state.packages.values():
        if version not in each.core_range:
            needs = f"works with {CORE}{each.core_range} and so not with {version}"
            raise Refused(f"{each.name} {needs}: widen the range in {each.directory}/pyproject.toml first")


def _check_core(package: Package, state: State) -> None:
    core, needs = state.packages[CORE], f"{CORE}{package.core_range}"
    if core.version not in package.core_range:
        raise Refused(f"{package.name} works with {needs}, and {CORE} here is {core.version}")
    lowest = max(Version(each.version) for each in package.core_range if each.operator == ">=")
    for needed in (f"{CORE}-v{'.'.join(map(str, (*lowest.release, 0, 0)[:3]))}", core.tag()):
        if needed not in state.tags:
            raise Refused(f"{package.name} needs {needs}, and there is no {needed}: release or fetch it first")
    if state.core_changes:
        files = ", ".join(state.core_changes)
        raise Refused(f"{CORE} has changed since {core.tag()}, and goes first when both change: {files}")
