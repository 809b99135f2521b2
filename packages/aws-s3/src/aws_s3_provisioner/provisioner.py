"""The four verbs, as recipes to be read from top to bottom."""

from __future__ import annotations

from libbucket import BucketOptions, NotReady, ObjectBucket, Provisioner, Services


class AwsS3Provisioner(Provisioner):
    """To be written."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """See `Provisioner.provision`."""
        raise NotReady(f"{options.bucket_name} can't be made yet")

    def delete(self, ob: ObjectBucket) -> None:
        """See `Provisioner.delete`."""
        raise NotReady(f"{ob.bucket_name} can't be removed yet")

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """See `Provisioner.grant`."""
        raise NotReady(f"{options.bucket_name} can't be granted yet")

    def revoke(self, ob: ObjectBucket) -> None:
        """See `Provisioner.revoke`."""
        raise NotReady(f"{ob.bucket_name} can't be revoked yet")
