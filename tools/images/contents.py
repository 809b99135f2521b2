"""What is left out of a folder: rules of docker/contents.toml, each with its reason.

Used outside, on the unpacked packages of the base, and during the build of an image, on what the wheels brought; so it
needs nothing but the standard library. Removes files; decides nothing that is not written in the rules.
"""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class ContentsError(Exception):
    """The rules don't fit what is there: one sentence."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Some paths that are not needed.

    Attributes:
        why: the reason.
        paths: globs, relative to the folder that the rule is about.
        kept: globs of what stays all the same.
    """

    why: str
    paths: tuple[str, ...]
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All of docker/contents.toml.

    Attributes:
        suite: the release of Debian.
        python: the version of its Python, such as 3.13.
        packages: the packages of the base.
        base: what is left out of those.
        wheels: what is left out of site-packages, by store; under `every` for all of them.
    """

    suite: str
    python: str
    packages: tuple[str, ...]
    base: tuple[Rule, ...]
    wheels: dict[str, tuple[Rule, ...]]

    def site_packages(self, store: str) -> tuple[Rule, ...]:
        """The rules for one store's image."""
        return self.wheels["every"] + self.wheels.get(store, ())


def read_contents(path: Path) -> Contents:
    """Reads the file."""
    found = tomllib.loads(path.read_text())
    debian = found["debian"]
    return Contents(
        suite=debian["suite"],
        python=debian["python"],
        packages=tuple(sorted(debian["packages"])),
        base=_rules(debian["leave-out"]),
        wheels={store: _rules(tables) for store, tables in found["site-packages"].items()},
    )


def _rules(tables: Iterable[dict[str, Any]]) -> tuple[Rule, ...]:
    return tuple(
        Rule(why=table["why"], paths=tuple(table["paths"]), kept=tuple(table.get("except", ()))) for table in tables
    )


def leave_out(folder: Path, rules: Iterable[Rule]) -> None:
    """Removes what the rules name.

    Raises:
        ContentsError: a path of a rule matches nothing: it has outlived its reason, or is misspelt.
    """
    for rule in rules:
        kept = {path for glob in rule.kept for path in _matches(folder, glob)}
        for glob in rule.paths:
            for path in _matches(folder, glob):
                if path not in kept:
                    _remove(path)


def _matches(folder: Path, glob: str) -> list[Path]:
    found = sorted(folder.glob(glob))
    if not found:
        raise ContentsError(f"docker/contents.toml: {glob!r} matches nothing that is there")
    return found


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():  # else it went with its folder
        shutil.rmtree(path)
