"""The command line of `nox -s release`: one commit and one tag on main, made in a temporary worktree, or nothing.

Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 130 interrupted. All but 0 leave main as it was.
"""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from release.packages import CORE, Package, Refused, read_packages, run
from release.preconditions import MAIN, State, check

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    """Does what the command line says."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="nox -s release --", description="Releases one package.")
    parser.add_argument("package", help="its folder: libbucket, minio, ...")
    parser.add_argument("version", help="three numbers, such as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="show the commit, and change nothing")
    arguments = parser.parse_args()
    try:
        package = check(arguments.package, arguments.version, read_state(Path.cwd()))
        release(package, arguments.version, Path.cwd(), is_rehearsal=arguments.dry_run)
    except Refused as refusal:
        sys.stderr.write(f"not released: {refusal}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted: nothing was changed\n")
        return 130
    return 0


def read_state(root: Path) -> State:
    """What `check` has to know of a checkout."""
    branch = run(root, "git", "branch", "--show-current").strip()
    packages, tags = read_packages(root), run(root, "git", "tag", "--list").split()
    core = packages[CORE].tag()
    differing = ["git", "diff", "--name-only", core, "HEAD", "--", f"{CORE}/src", f"{CORE}/pyproject.toml"]
    core_changes = run(root, *differing).splitlines() if core in tags else []
    changes = run(root, "git", "status", "--porcelain").splitlines()
    return State(branch=branch, changes=changes, tags=tags, packages=packages, core_changes=core_changes)


def release(package: Package, version: str, root: Path, *, is_rehearsal: bool) -> None:
    """Commits version and changelog, checks that wheel and sdist can be built from the commit, and tags it."""
    tag, project = f"{package.name}-v{version}", package.directory
    changelog = ["--config", f"{project}/pyproject.toml", "--dir", project, "--version", version]
    with worktree(root) as tree:
        print(f"committing and building {package.name} {version}", flush=True)
        news = run(tree, "towncrier", "build", "--draft", *changelog).strip()
        run(tree, "towncrier", "build", "--yes", *changelog)
        run(tree, "uv", "version", "--frozen", "--project", project, version)
        run(tree, "git", "commit", "--quiet", "--all", "--message", f"Release {package.name} {version}")
        pins = ["--build-constraints", "requirements/build.txt", "--require-hashes"]
        run(tree, "uv", "build", "--out-dir", str(tree.parent / "dist"), *pins, project)
        print(f"\n{run(tree, 'git', 'show', '--stat', '--format=%s')}\n{news}\n")
        if is_rehearsal:
            print(f"nothing was changed: without --dry-run, {MAIN} gets this commit, and the tag {tag}")
        else:
            hand_over(tree, root, tag, f"{package.name} {version}\n\n{news}\n")
            print(f"{MAIN} has this commit, with the tag {tag}. To publish it:\n")
            print(f"    git push --atomic origin {MAIN} {tag}")


def hand_over(tree: Path, root: Path, tag: str, message: str) -> None:
    """Tags the commit and moves main to it; neither of them if main has moved meanwhile. Not to be interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # With another clean-up mode, git takes the headings of the changelog for comments.
    run(tree, "git", "tag", "--annotate", "--cleanup=whitespace", "--message", message, tag)
    try:
        run(root, "git", "merge", "--quiet", "--ff-only", tag)
    except Refused as refusal:
        run(root, "git", "tag", "--delete", tag)
        raise Refused(f"{MAIN} or its tree has changed meanwhile, so start again: {refusal}") from None


@contextmanager
def worktree(root: Path) -> Iterator[Path]:
    """A temporary worktree of main, with the checkout's own configuration."""
    with TemporaryDirectory(prefix="libbucket-release-") as parent:
        tree = Path(parent) / "libbucket"
        run(root, "git", "worktree", "add", "--quiet", "--detach", str(tree), MAIN)
        try:
            yield tree
        finally:
            run(root, "git", "worktree", "remove", "--force", str(tree))


if __name__ == "__main__":
    sys.exit(main())
