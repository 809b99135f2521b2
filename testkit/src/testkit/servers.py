"""Gets every program that the tests run servers from, at the same time and with progress: builds, downloads, installs.

Run by the sessions before pytest, whose workers would otherwise wait for each other in silence. What is there already
costs nothing. Knows where each package's tests get theirs, and nothing else of them.

    python -m testkit.servers [stores]

With the argument, those of that session instead.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final

from libbucket.testing.binaries import control_plane_binaries, kubectl_binary
from libbucket.testing.concurrently import run_concurrently
from libbucket.testing.problems import SetupFailed
from testkit.aws_s3.emulators import servers_python
from testkit.aws_s3.seaweedfs import seaweedfs_binary
from testkit.aws_s3.versitygw import versitygw_binary
from testkit.azure.azurite import azurite_directory
from testkit.garage.server import garage_binary
from testkit.minio.server import minio_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _install_the_rest() -> None:
    for get in (kubectl_binary, servers_python, azurite_directory):
        get()


def _build_garage() -> None:
    """Where there is no cargo, its tests are skipped."""
    if shutil.which("cargo") or shutil.which("garage"):
        garage_binary()


# The long builds start at once. The rest is short, and follows one another beside them.
_WHAT: Final[Mapping[str, Sequence[Callable[[], object]]]] = {
    "": (control_plane_binaries, minio_binary, _install_the_rest),
    "stores": (seaweedfs_binary, versitygw_binary, _build_garage),
}


def main(session: str = "") -> int:
    """Gets them all; 1 if one can't be had, with a sentence that says which."""
    try:
        run_concurrently(*_WHAT[session])
    except SetupFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what was complete is kept, builds are stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
