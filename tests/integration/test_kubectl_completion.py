"""`kubectl libbucket` is completed by kubectl itself, through the program that it finds on the PATH."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from libbucket.testing.binaries import kubectl_binary

if TYPE_CHECKING:
    from pathlib import Path


def test_kubectl_completes_commands_of_its_plugin(tmp_path: Path) -> None:
    for name, module in (("kubectl-libbucket", "entry"), ("kubectl_complete-libbucket", "kubectl_completion")):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m libbucket._cli.{module} "$@"\n')
        program.chmod(0o755)
    search = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        [kubectl_binary(), "__complete", "libbucket", "rot"],
        env={**os.environ, "PATH": search},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.splitlines()[0].partition("\t")[0] == "rotate"
