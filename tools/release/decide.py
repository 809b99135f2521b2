"""Turns what was asked for and what is there into a plan, or refuses it in one sentence. No I/O.

The order of the checks is the order in which somebody would mend them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.version import Version

from release.git import MAIN
from release.packages import CORE, Package, lower_bound, needs
from release.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class World:
    """What was found.

    Attributes:
        branch: empty if none is checked out.
        changes: what is not committed, one line each.
        tags: all of them.
        packages: by name.
        core_changes: files of libbucket that differ from the tag of its version; empty where there is no such tag.
    """

    branch: str
    changes: tuple[str, ...]
    tags: frozenset[str]
    packages: Mapping[str, Package]
    core_changes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A release that may be made."""

    package: Package
    version: Version

    @property
    def tag(self) -> str:
        """The tag that it gets."""
        return self.package.tag(self.version)

    @property
    def subject(self) -> str:
        """The commit's message."""
        return f"Release {self.package.name} {self.version}"


def decide(name: str, version: str, world: World) -> Plan:
    """The plan.

    Raises:
        Refused: this can't be released now.
    """
    package = find_package(name, world.packages)
    plan = Plan(package=package, version=parse_version(version))
    _check_tree(world)
    _check_version(plan, world)
    _check_news(package)
    _check_order(plan, world)
    return plan


def find_package(name: str, packages: Mapping[str, Package]) -> Package:
    """The package of that name.

    Raises:
        Refused: there is none.
    """
    if name not in packages:
        raise Refused(f"there is no package {name!r}; there are {', '.join(packages)}")
    return packages[name]


def parse_version(text: str) -> Version:
    """A version of three numbers.

    Raises:
        Refused: it is something else.
    """
    if not _VERSION.fullmatch(text):
        raise Refused(f"{text!r} is no version: it takes three numbers, such as 0.2.0")
    return Version(text)


def _check_tree(world: World) -> None:
    if world.branch != MAIN:
        where = f"this is {world.branch}" if world.branch else "no branch is checked out here"
        raise Refused(f"releases are made on {MAIN}, and {where}")
    if world.changes:
        raise Refused(f"the tree has changes that are not committed: {_some(world.changes)}")


def _check_version(plan: Plan, world: World) -> None:
    package, version = plan.package, plan.version
    if plan.tag in world.tags:
        raise Refused(f"there is a tag {plan.tag} already, and what is released stays as it is: take a higher version")
    latest = max([package.version, *package.released(world.tags)])
    # The very first release is that of the version which pyproject.toml has had all the time.
    is_first = version == package.version and not package.released(world.tags)
    if version <= latest and not is_first:
        raise Refused(f"{version} is not higher than {latest}, which is the version of {package.name} now")


def _check_news(package: Package) -> None:
    if not package.fragments:
        raise Refused(f"{package.directory}/changes has no news fragment, and a release says what is new")


def _check_order(plan: Plan, world: World) -> None:
    if plan.package.name == CORE:
        _check_that_ranges_take(plan, world)
    else:
        _check_that_core_is_released(plan.package, world)


def _check_that_ranges_take(plan: Plan, world: World) -> None:
    others = [each for each in world.packages.values() if each.core_range is not None]
    for each in others:
        if each.core_range is not None and plan.version not in each.core_range:
            raise Refused(
                f"{each.name} works with {needs(each.core_range)} and so not with {plan.version}: "
                f"widen the range in {each.directory}/pyproject.toml first"
            )


def _check_that_core_is_released(package: Package, world: World) -> None:
    core, core_range = world.packages[CORE], package.core_range
    if core_range is None:
        raise Refused(f"{package.directory}/pyproject.toml doesn't say which {CORE} it works with")
    if core.version not in core_range:
        raise Refused(f"{package.name} works with {needs(core_range)}, and {CORE} here is {core.version}")
    for needed in (core.tag(lower_bound(core_range)), core.tag()):
        if needed not in world.tags:
            raise Refused(
                f"{package.name} needs {needs(core_range)}, and there is no {needed}: release or fetch it first"
            )
    if world.core_changes:
        files = _some(world.core_changes)
        raise Refused(f"{CORE} has changed since {core.tag()}, and goes first when both change: {files}")


def _some(lines: tuple[str, ...]) -> str:
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return ", ".join([*(line.strip() for line in lines[:_SHOWN]), *more])
