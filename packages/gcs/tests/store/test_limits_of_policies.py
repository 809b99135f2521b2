"""What a bucket's policy has room for: claims that share an existing bucket, at the limit and over it.

https://cloud.google.com/storage/quotas#buckets: 1,500 principals for all roles of a bucket, 100 for the legacy ones.
https://cloud.google.com/iam/docs/conditions-overview: 100 bindings with conditions.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from libbucket import QuotaExceeded
from libbucket.testing import builders

if TYPE_CHECKING:
    from libbucket.testing.conformance.environment import Environment
    from testkit.gcs.fake import FakeGcs
    from testkit.gcs.fake.model import Json


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


def _conditional(role: str, count: int) -> list[Json]:
    """Bindings of others, each with a member and a condition of its own."""
    return [
        {
            "role": role,
            "members": [f"user:person-{number}@example.com"],
            "condition": {"title": f"until-{number}", "expression": "true"},
        }
        for number in range(count)
    ]


@pytest.mark.parametrize(("others", "has_room"), [(99, True), (100, False)])
def test_a_policy_with_a_hundred_conditions_may_have_no_room(
    environment: Environment, fake: FakeGcs, others: int, *, has_room: bool
) -> None:
    """With more it may be too large, and only Google knows: it is asked, and what it refuses is told by its number."""
    bucket = environment.foreign_bucket()
    found = fake.store.buckets[bucket]
    found.resource["iamConfiguration"] = {"uniformBucketLevelAccess": {"enabled": True}}
    found.policy.bindings += _conditional("roles/storage.objectViewer", others)
    parameters = {"bucketName": bucket, "credentials": "workload-identity-federation"}
    request = environment.request(bucket=bucket, parameters=parameters)
    if has_room:
        environment.patiently(environment.provisioner.grant, request)
        return
    with pytest.raises(QuotaExceeded, match=rf"{bucket} .*101 bindings with a condition.*100"):
        environment.patiently(environment.provisioner.grant, request)


@pytest.mark.parametrize(("others", "has_room"), [(99, True), (100, False)])
def test_a_shared_accounts_policy_with_a_hundred_conditions_may_have_no_room(
    environment: Environment, fake: FakeGcs, others: int, *, has_room: bool
) -> None:
    email = json.loads(fake.add_admin("shared", ()))["client_email"]
    role = "roles/iam.workloadIdentityUser"
    fake.store.accounts[email].policy.bindings += _conditional(role, others)
    request = environment.request(parameters={"serviceAccount": email, "credentials": "workload-identity"})
    if has_room:
        environment.patiently(environment.provisioner.provision, request)
        return
    with pytest.raises(QuotaExceeded, match=rf"{email} .*101 bindings with a condition.*100"):
        environment.patiently(environment.provisioner.provision, request)
