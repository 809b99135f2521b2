"""Git, as far as a release needs it: each call is one `git` in one directory.

Used by all that gathers and acts. Decides nothing.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from release.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

MAIN: Final = "main"
# Who commits, and how commits are signed, may stand in the checkout's own configuration: a clone would not have it.
_PERSONAL: Final = frozenset({"user", "commit", "tag", "gpg"})
# The receiving end checks that the tree is clean and updates it together with the branch, or refuses everything.
_RECEIVE: Final = "git -c receive.denyCurrentBranch=updateInstead receive-pack"


@dataclass(frozen=True, kw_only=True)
class Git:
    """A working tree.

    Attributes:
        directory: its top.
    """

    directory: Path

    def run(self, *arguments: str) -> str:
        """Runs git and gives what it prints.

        Raises:
            Refused: it failed; with what it said.
        """
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise Refused(f"git {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def branch(self) -> str:
        """The branch that is checked out; empty if none is."""
        return self.run("branch", "--show-current").strip()

    def changes(self) -> tuple[str, ...]:
        """What is not committed, as `git status --short` says it; files that git doesn't know count too."""
        return tuple(self.run("status", "--porcelain").splitlines())

    def tags(self) -> frozenset[str]:
        """All tags."""
        return frozenset(self.run("tag", "--list").split())

    def differing(self, tag: str, *paths: str) -> tuple[str, ...]:
        """Those files below `paths` that are not as they were at the tag."""
        return tuple(self.run("diff", "--name-only", tag, "HEAD", "--", *paths).splitlines())

    def commit_time(self) -> str:
        """When the commit that is checked out was made, in seconds since 1970: every build takes this for now."""
        return self.run("log", "-1", "--format=%ct").strip()

    def push_to_origin(self, *refs: str) -> None:
        """Hands over branches and tags to where this was cloned from, all of them or none.

        Raises:
            Refused: what is there has changed meanwhile.
        """
        self.run("push", "--quiet", "--atomic", f"--receive-pack={_RECEIVE}", "origin", *refs)


@contextmanager
def scratch_clone(origin: Git, revision: str) -> Iterator[Git]:
    """A clone in a temporary directory, with that branch or tag checked out; gone at the end."""
    with TemporaryDirectory(prefix="libbucket-release-") as parent:
        clone = Git(directory=Path(parent) / "libbucket")
        options = ["--quiet", "--no-hardlinks", "-c", "advice.detachedHead=false", "--branch", revision]
        origin.run("clone", *options, str(origin.directory), str(clone.directory))
        _copy_configuration(origin, clone)
        yield clone


def _copy_configuration(origin: Git, clone: Git) -> None:
    for line in origin.run("config", "--local", "--list").splitlines():
        key, _, value = line.partition("=")
        if key.partition(".")[0] in _PERSONAL:
            clone.run("config", key, value)
