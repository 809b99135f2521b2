"""The command `minio-provisioner`: builds the provisioner and hands it to the core. Nothing else belongs here."""

from __future__ import annotations

import sys
from importlib.metadata import version

from libbucket import run
from minio_provisioner.provisioner import MinioProvisioner


def main() -> int:
    """Runs the provisioner until a signal stops it, and gives the exit code."""
    return run(
        MinioProvisioner,
        program="minio-provisioner",
        provisioner_name="minio.io/bucket",
        version=version("minio-provisioner"),
    )


if __name__ == "__main__":
    sys.exit(main())
