"""The stores that the demo can show, by the name that the command line takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stores.aws_s3 import aws_s3
from stores.azure import azure
from stores.base import Store
from stores.gcs import gcs
from stores.minio import minio

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from stores.base import StoreStarter

__all__ = ["STORES", "Store"]

STORES: Final[Mapping[str, StoreStarter]] = {"aws-s3": aws_s3, "azure": azure, "gcs": gcs, "minio": minio}
