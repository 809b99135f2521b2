"""What an application tries with a claim's credentials and real clients, by the store's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testkit.resilience.untrusted.aws_s3 import UntrustedAwsApplication
from testkit.resilience.untrusted.azure import UntrustedAzureApplication
from testkit.resilience.untrusted.base import Peek, UntrustedApplication
from testkit.resilience.untrusted.gcs import UntrustedGcsApplication
from testkit.resilience.untrusted.minio import UntrustedMinioApplication

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["UNTRUSTED_APPLICATIONS", "Peek", "UntrustedApplication"]

UNTRUSTED_APPLICATIONS: Final[Mapping[str, type[UntrustedApplication]]] = {
    "aws-s3": UntrustedAwsApplication,
    "azure": UntrustedAzureApplication,
    "gcs": UntrustedGcsApplication,
    "minio": UntrustedMinioApplication,
}
