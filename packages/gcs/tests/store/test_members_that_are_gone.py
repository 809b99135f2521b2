"""Policies with members that were deleted: those of others stay, those of the claim go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket import StoreRefused
from libbucket.testing import builders
from testkit.gcs.fake.members import show

if TYPE_CHECKING:
    from libbucket import BucketOptions
    from libbucket.testing.conformance.environment import Environment
    from testkit.gcs.fake import FakeGcs

VIEWER = "roles/storage.objectViewer"
KINDS = ["hmac", "json-key", "workload-identity", "workload-identity-federation"]
LEFT = [
    "deleted:group:team@example.com?uid=123456789012345678901",
    "deleted:principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/jane@example.com",
    "deleted:serviceAccount:gone@another-project.iam.gserviceaccount.com?uid=123456789012345678901",
    "deleted:user:jane@example.com?uid=123456789012345678901",
]
"""https://cloud.google.com/iam/docs/principal-identifiers has no other form."""
GONE = "principal://iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/gone/subject/x"


def _existing(environment: Environment, fake: FakeGcs, *members: str) -> str:
    """A bucket with uniform access, whose policy names others."""
    bucket = environment.foreign_bucket()
    found = fake.store.buckets[bucket]
    found.resource["iamConfiguration"] = {"uniformBucketLevelAccess": {"enabled": True}}
    if members:
        found.policy.bindings.append({"role": VIEWER, "members": list(members)})
    return bucket


def _request(environment: Environment, bucket: str, kind: str) -> BucketOptions:
    parameters = {"bucketName": bucket, "credentials": kind, "revocationSeconds": "0"}
    return environment.request(bucket=bucket, parameters=parameters)


def _members(fake: FakeGcs, bucket: str, role: str = "") -> list[str]:
    """As the policy shows them; of all roles if none is named."""
    found = fake.store.buckets[bucket].policy.bindings
    return [show(fake.store, member) for each in found if role in each["role"] for member in each["members"]]


@pytest.mark.parametrize("kind", KINDS)
def test_deleted_members_of_others_are_written_back_as_they_are(
    environment: Environment, fake: FakeGcs, kind: str
) -> None:
    bucket = _existing(environment, fake, *LEFT)
    before, etag = _members(fake, bucket), fake.store.buckets[bucket].policy.etag
    request = _request(environment, bucket, kind)
    answer = environment.patiently(environment.provisioner.grant, request)
    assert _members(fake, bucket, VIEWER) == LEFT
    assert fake.store.buckets[bucket].policy.etag != etag
    environment.revoke(builders.recorded(answer, request, greenfield=False))
    assert sorted(_members(fake, bucket)) == sorted(before)


@pytest.mark.parametrize("kind", ["hmac", "json-key", "workload-identity"])
def test_what_is_left_of_the_claims_own_account_goes_at_the_end(
    environment: Environment, fake: FakeGcs, kind: str
) -> None:
    """An administrator has removed the account, and IAM shows it as deleted."""
    bucket = _existing(environment, fake)
    before = _members(fake, bucket)
    request = _request(environment, bucket, kind)
    answer = environment.patiently(environment.provisioner.grant, request)
    record = builders.recorded(answer, request, greenfield=False)
    environment.administrator.remove_identity(record)
    assert any(each.startswith("deleted:serviceAccount:") for each in _members(fake, bucket))
    environment.revoke(record)
    assert sorted(_members(fake, bucket)) == sorted(before)


def test_an_account_that_is_made_again_takes_the_place_of_what_is_left(environment: Environment, fake: FakeGcs) -> None:
    """A new account of a name is another member: https://cloud.google.com/iam/docs/allow-policies."""
    bucket = _existing(environment, fake)
    request = _request(environment, bucket, "hmac")
    answer = environment.patiently(environment.provisioner.grant, request)
    environment.administrator.remove_identity(builders.recorded(answer, request, greenfield=False))
    again = environment.patiently(environment.provisioner.grant, builders.again(request, answer))
    assert not [each for each in _members(fake, bucket) if each.startswith("deleted:")]
    member = f"serviceAccount:{again.additional_state['ServiceAccount']}"
    assert _members(fake, bucket).count(member) == 2


def test_a_member_of_others_that_does_not_exist_is_told_and_stays(environment: Environment, fake: FakeGcs) -> None:
    """To write a policy is to write the members of all: https://github.com/hashicorp/terraform-provider-google/issues/17737."""
    bucket = _existing(environment, fake)
    requests = {kind: _request(environment, bucket, kind) for kind in ("hmac", "workload-identity-federation")}
    records = {
        kind: builders.recorded(environment.patiently(environment.provisioner.grant, each), each, greenfield=False)
        for kind, each in requests.items()
    }
    fake.store.buckets[bucket].policy.bindings.append({"role": VIEWER, "members": [GONE]})
    later = _request(environment, bucket, "workload-identity-federation")
    with pytest.raises(StoreRefused, match="another member of that policy does not exist any more") as refused:
        environment.provisioner.grant(later)
    assert GONE not in refused.value.message
    environment.revoke(builders.intent(later, greenfield=False))

    environment.revoke(records["hmac"])  # with its account its access has ended as well
    assert not environment.administrator.identity_exists(records["hmac"])
    with pytest.raises(StoreRefused, match="remove such members from the policy"):
        environment.revoke(records["workload-identity-federation"])
    assert GONE in _members(fake, bucket)
    fake.store.buckets[bucket].policy.bindings.pop()
    environment.revoke(records["workload-identity-federation"])
    assert "principal://" not in repr(_members(fake, bucket))


def test_a_claim_of_a_pool_that_is_gone_can_go(environment: Environment, fake: FakeGcs) -> None:
    """The policy that remains names the pool no more."""
    bucket = _existing(environment, fake, "user:jane@example.com")
    request = _request(environment, bucket, "workload-identity-federation")
    answer = environment.patiently(environment.provisioner.grant, request)
    fake.knobs.workload_pool = False
    environment.revoke(builders.recorded(answer, request, greenfield=False))
    assert "principal://" not in repr(_members(fake, bucket))
    assert _members(fake, bucket, VIEWER) == ["user:jane@example.com"]
