"""The command `gcs-provisioner`: builds the provisioner and hands it to the core. Nothing else belongs here."""

from __future__ import annotations

import sys
from importlib.metadata import version

from gcs_provisioner.provisioner import GcsProvisioner
from libbucket import run


def main() -> int:
    """Runs the provisioner until a signal stops it, and gives the exit code."""
    return run(
        GcsProvisioner,
        program="gcs-provisioner",
        provisioner_name="gcs.io/bucket",
        version=version("gcs-provisioner"),
    )


if __name__ == "__main__":
    sys.exit(main())
