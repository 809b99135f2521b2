"""Prints which libbucket a package is tested with: the oldest and the newest of its range, one requirement a line.

    python -m release.compatibility minio

A released version comes from its tag. What this tree has counts as newer, if it is in the range.
"""

from __future__ import annotations

import sys
from pathlib import Path

from release.packages import CORE, Package, Refused, find_package, read_packages, run


def choose(package: Package, core: Package, tags: list[str]) -> list[str]:
    """The tags to test with, oldest first; an empty one is this tree. `Refused` if none is in the range."""
    fitting = [core.tag(each) for each in core.released(tags) if each in package.core_range]
    fitting += [""] if core.version in package.core_range else []
    if not fitting:
        needs = f"works with {CORE}{package.core_range}"
        raise Refused(f"{package.name} {needs}, and neither this tree nor any tag has that")
    return list(dict.fromkeys((fitting[0], fitting[-1])))


def main(name: str) -> int:
    """Prints the requirements; 1 with a sentence if there is none."""
    root = Path.cwd()
    try:
        packages, tags = read_packages(root), run(root, "git", "tag", "--list").split()
        for tag in choose(find_package(name, packages), packages[CORE], tags):
            print(f"{CORE} @ git+{root.as_uri()}@{tag}#subdirectory={CORE}" if tag else root / CORE)
    except Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
