"""The stores that the demo can show, by the name that the command line takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testkit.stores.aws_s3 import aws_s3, servers_python
from testkit.stores.azure import azure, azurite_directory
from testkit.stores.base import Store
from testkit.stores.gcs import gcs
from testkit.stores.minio import minio, minio_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Final

    from testkit.stores.base import StoreStarter

__all__ = ["PROGRAMS", "STORES", "Store"]

STORES: Final[Mapping[str, StoreStarter]] = {"aws-s3": aws_s3, "azure": azure, "gcs": gcs, "minio": minio}

PROGRAMS: Final[Mapping[str, Callable[[], Path]]] = {
    "aws-s3": servers_python,
    "azure": azurite_directory,
    "minio": minio_binary,
}
"""What installs or builds a store's server, by the same names, for those that have one."""
