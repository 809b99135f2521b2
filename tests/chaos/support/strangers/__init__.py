"""What an application tries with a claim's credentials and real clients, by the store's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strangers.aws_s3 import AwsStranger
from strangers.azure import AzureStranger
from strangers.base import Peek, Stranger
from strangers.gcs import GcsStranger
from strangers.minio import MinioStranger

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STRANGERS", "Peek", "Stranger"]

STRANGERS: Final[Mapping[str, type[Stranger]]] = {
    "aws-s3": AwsStranger,
    "azure": AzureStranger,
    "gcs": GcsStranger,
    "minio": MinioStranger,
}
