"""What an administrator of the fake's project looks at and breaks by hand, without a request.

Shared by `administrator`, which has Google's clients besides, and `in_memory_backend`, which has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gcs_provisioner.account_names import build_email
from libbucket.testing.conformance import Administrator

if TYPE_CHECKING:
    from libbucket import ObjectBucket
    from testkit.gcs.fake import FakeGcs


COUNTERS: Final = frozenset({"etag", "metageneration"})
"""Of a bucket's resource: not settings, but how often these, or the policy, were written."""


class AdministratorByHand(Administrator):
    """Reads and changes what the fake remembers.

    Args:
        fake: it.
    """

    def __init__(self, fake: FakeGcs) -> None:
        self.fake = fake

    def purge_bucket(self, name: str) -> None:
        with self.fake.store.lock:
            self.fake.store.buckets.pop(name, None)
            for each in [key for key, found in self.fake.store.sessions.items() if found.bucket == name]:
                del self.fake.store.sessions[each]

    def bucket_exists(self, name: str) -> bool:
        return name in self.fake.store.buckets

    def email(self, record: ObjectBucket) -> str:
        """Address of the claim's account."""
        return build_email(record.user_id, self.fake.project)

    def identity_exists(self, record: ObjectBucket) -> bool:
        return self.email(record) in self.fake.store.accounts

    def remove_identity(self, record: ObjectBucket) -> None:
        with self.fake.store.lock:
            self.fake.store.accounts.pop(self.email(record), None)
