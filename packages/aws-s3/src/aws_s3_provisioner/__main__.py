"""The command `aws-s3-provisioner`: builds the provisioner and hands it to the core. Nothing else belongs here."""

from __future__ import annotations

import sys
from importlib.metadata import version

from aws_s3_provisioner.provisioner import AwsS3Provisioner
from libbucket import run


def main() -> int:
    """Runs the provisioner until a signal stops it, and gives the exit code."""
    return run(
        AwsS3Provisioner,
        program="aws-s3-provisioner",
        provisioner_name="aws-s3.io/bucket",
        version=version("aws-s3-provisioner"),
    )


if __name__ == "__main__":
    sys.exit(main())
