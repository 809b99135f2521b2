"""The command `azure-provisioner`: builds the provisioner and hands it to the core. Nothing else belongs here."""

from __future__ import annotations

import sys
from importlib.metadata import version

from azure_provisioner.client import silence_clients
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import run


def main() -> int:
    """Runs the provisioner until a signal stops it, and gives the exit code."""
    silence_clients()
    return run(
        AzureProvisioner,
        program="azure-provisioner",
        provisioner_name="azure-blob.io/bucket",
        version=version("azure-provisioner"),
    )


if __name__ == "__main__":
    sys.exit(main())
