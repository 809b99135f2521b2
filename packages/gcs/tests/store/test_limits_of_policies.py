"""What a bucket's policy has room for: claims that share an existing bucket, at the limit and over it.

https://cloud.google.com/storage/quotas#buckets: 1,500 principals for all roles of a bucket, 100 for the legacy ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from libbucket import QuotaExceeded
from libbucket.testing import builders

if TYPE_CHECKING:
    from libbucket.testing.conformance.environment import Environment
    from testkit.gcs.fake import FakeGcs


def _fill(fake: FakeGcs, bucket: str, role: str, count: int) -> None:
    members = [f"user:person-{number}@example.com" for number in range(count)]
    fake.store.buckets[bucket].policy.bindings.append({"role": role, "members": members})


def _room(fake: FakeGcs, bucket: str, most: int, *, legacy: bool) -> int:
    bindings = fake.store.buckets[bucket].policy.bindings
    return most - sum(len(each["members"]) for each in bindings if not legacy or ".legacy" in each["role"])


@pytest.mark.parametrize(
    ("role", "most", "needed"),
    [("roles/storage.objectViewer", 1500, 2), ("roles/storage.legacyBucketReader", 100, 1)],
    ids=["all roles", "legacy roles"],
)
@pytest.mark.parametrize("kind", ["hmac", "workload-identity-federation"])
def test_a_claim_that_a_policy_has_no_room_for_is_told(
    environment: Environment, fake: FakeGcs, role: str, most: int, needed: int, kind: str
) -> None:
    bucket = environment.foreign_bucket()
    fake.store.buckets[bucket].resource["iamConfiguration"] = {"uniformBucketLevelAccess": {"enabled": True}}
    legacy = "legacy" in role
    _fill(fake, bucket, role, _room(fake, bucket, most, legacy=legacy) - needed)
    parameters = {"bucketName": bucket, "credentials": kind}
    first = environment.request(bucket=bucket, parameters=parameters)
    bound = environment.patiently(environment.provisioner.grant, first)
    before = fake.store.buckets[bucket].policy.etag
    later = environment.request(bucket=bucket, parameters=parameters)
    later = replace(later, claim=replace(later.claim, additional_config={"kubernetesServiceAccount": "two"}))
    for _ in range(2):
        with pytest.raises(QuotaExceeded, match=rf"{bucket}.*{most:,}"):
            environment.provisioner.grant(later)
    assert fake.store.buckets[bucket].policy.etag == before

    environment.provisioner.grant(builders.again(first, bound))  # who is in is not concerned
    environment.revoke(builders.intent(later, greenfield=False))
    assert not environment.administrator.identity_exists(builders.intent(later, greenfield=False))
    environment.revoke(builders.recorded(bound, first, greenfield=False))
    environment.patiently(environment.provisioner.grant, later)
