"""A provisioner whose store remembers nothing, and takes a given time for each call: for restarts and for replicas.

Its answer follows from the request, so that every process of it has the same store: one that is started anew, with
another version, or several at once. Takes its version and its store's seconds from the environment, because they are
no flags of a provisioner. Not an example: it deletes nothing, and checks nothing.

    BENCHMARK_VERSION=2 BENCHMARK_STORE_SECONDS=0.5 python -m testkit.benchmark.provisioner --kubeconfig PATH
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from typing import TYPE_CHECKING, Final

from libbucket.provisioner import Inspector, Provisioner
from libbucket.run import run
from libbucket.types import AccessKeys, Authentication, Connection, Endpoint, ObjectBucket, SecretStr

if TYPE_CHECKING:
    from libbucket.provisioner import Services
    from libbucket.types import BucketOptions

PROVISIONER_NAME: Final = "benchmark.libbucket.io/bucket"
VERSION: Final = "BENCHMARK_VERSION"
STORE_SECONDS: Final = "BENCHMARK_STORE_SECONDS"


class StatelessProvisioner(Provisioner, Inspector):
    """Answers each request as if its bucket had always been there.

    Args:
        services: not used.
        seconds: that each call to the store takes.
    """

    def __init__(self, services: Services | None = None, *, seconds: float = 0.0) -> None:
        del services
        self._seconds = seconds

    def provision(self, options: BucketOptions) -> ObjectBucket:
        time.sleep(self._seconds)
        digest = hashlib.sha256(options.user_id.encode()).hexdigest()
        keys = AccessKeys(access_key_id=digest[:20].upper(), secret_access_key=SecretStr(digest[20:60]))
        endpoint = Endpoint(bucket_host="benchmark.invalid", bucket_port=443, bucket_name=options.bucket_name)
        return ObjectBucket(
            connection=Connection(
                endpoint=endpoint,
                authentication=Authentication(access_keys=keys),
                additional_state={"UserName": options.user_id},
            )
        )

    def grant(self, options: BucketOptions) -> ObjectBucket:
        return self.provision(options)

    def delete(self, ob: ObjectBucket) -> None:
        del ob
        time.sleep(self._seconds)

    def revoke(self, ob: ObjectBucket) -> None:
        del ob
        time.sleep(self._seconds)

    def is_intact(self, options: BucketOptions) -> bool:
        del options
        time.sleep(self._seconds)
        return True


def _made(services: Services) -> StatelessProvisioner:
    return StatelessProvisioner(services, seconds=float(os.environ.get(STORE_SECONDS, "0")))


if __name__ == "__main__":
    sys.exit(
        run(
            _made,
            program="benchmark-provisioner",
            provisioner_name=PROVISIONER_NAME,
            version=os.environ.get(VERSION, "1"),
        )
    )
