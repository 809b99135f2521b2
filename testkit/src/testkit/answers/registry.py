"""The stores of the sweep, by the name that the command line takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testkit.answers.aws_s3 import aws_s3
from testkit.answers.azure import azure, azure_delegated, azure_machine
from testkit.answers.gcs import gcs, gcs_federation, gcs_json_key, gcs_json_key_slow, gcs_slow
from testkit.answers.memory import memory
from testkit.answers.minio import minio, minio_of_the_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from testkit.answers.adapter import Adapter

ADAPTERS: Final[Mapping[str, Callable[[], AbstractContextManager[Adapter]]]] = {
    "aws-s3": aws_s3,
    "azure": azure,
    "azure-delegated": azure_delegated,
    "azure-machine": azure_machine,
    "gcs": gcs,
    "gcs-federation": gcs_federation,
    "gcs-json-key": gcs_json_key,
    "gcs-json-key-slow": gcs_json_key_slow,
    "gcs-slow": gcs_slow,
    "memory": memory,
    "minio": minio,
    "minio-server": minio_of_the_server,
}

IN_MEMORY: Final = frozenset(ADAPTERS) - {"minio-server"}
"""Those of which all trials run unless stores are named: with a server, they take hours."""
