"""Gets every program that the tests run servers from, one after another and with progress: builds, downloads, installs.

Run by the sessions before pytest, whose workers would otherwise wait for each other in silence. What is there already
costs nothing. Knows where each package's tests get theirs, and nothing else of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.extend(
    str(Path(__file__).parents[1] / "packages" / name / "tests/support") for name in ("aws-s3", "azure", "minio")
)

from aws_servers import servers_python
from azurite_server import azurite_directory
from minio_server import minio_binary

from libbucket.testing.binaries import control_plane_binaries, kubectl_binary
from libbucket.testing.problems import SetupFailed


def main() -> int:
    """Gets them all; 1 if one can't be had, with a sentence that says which."""
    try:
        for get in (control_plane_binaries, kubectl_binary, minio_binary, servers_python, azurite_directory):
            get()
    except SetupFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
