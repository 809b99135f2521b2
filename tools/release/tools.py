"""The programs that a release is made with, each from the environment that this runs in. Decides nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from release.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Tools:
    """Runs programs in one directory.

    Attributes:
        directory: where.
        environment: added to this process's own.
    """

    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def python(self, module: str, *arguments: str | Path) -> str:
        """Runs a module of this environment, quietly, and gives what it prints.

        Raises:
            Refused: it failed; with all that it said.
        """
        return self.program(sys.executable, "-m", module, *arguments)

    def program(self, *command: str | Path) -> str:
        """Runs any program, quietly, and gives what it prints.

        Raises:
            Refused: it failed; with all that it said.
        """
        words = [str(word) for word in command]
        done = subprocess.run(
            words, cwd=self.directory, env=self._everything(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Refused(f"`{' '.join(words)}` failed:\n{done.stdout}{done.stderr}".rstrip())
        return done.stdout

    def show(self, module: str, *arguments: str) -> None:
        """Runs a module of this environment, and lets it print: for what takes minutes.

        Raises:
            Refused: it failed.
        """
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, cwd=self.directory, env=self._everything(), check=False)
        if done.returncode:
            raise Refused(f"`{' '.join(command)}` failed; what it said stands above")

    def _everything(self) -> dict[str, str]:
        # Where these modules are found is nothing that a program of the release should know.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {**inherited, **self.environment}
