"""Who else may use a claim's bucket, name, key or user: other accounts, sessions of a leaked key, other policies."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from libbucket import BucketExists, InvalidClaim, InvalidConfig, InvalidParameters, RetrySlowly
from libbucket.testing import builders
from testkit.aws_s3.fake_iam import FakeUser
from testkit.aws_s3.in_memory import InMemoryAws, in_memory_aws, key_of, request_for
from testkit.aws_s3.regional_s3 import OWN, Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER_ACCOUNT = "999999999999"
BOUNDARY = f"arn:aws:iam::{OWN}:policy/tenants"


@pytest.fixture
def aws() -> Iterator[InMemoryAws]:
    with in_memory_aws() as running:
        yield running


def test_a_bucket_of_another_account_with_the_claims_tags_and_open_to_all_is_not_taken(aws: InMemoryAws) -> None:
    request = request_for()
    tags = dict(request.owner.ownership_tags())
    aws.s3.buckets["photos"] = Bucket(region="eu-central-1", account=OTHER_ACCOUNT, tags=tags, is_open=True)
    with pytest.raises(BucketExists, match="another AWS account"):
        aws.provisioner.provision(request)
    with pytest.raises(BucketExists):
        aws.provisioner.delete(builders.intent(request))
    assert "photos" in aws.s3.buckets
    aws.s3.buckets["photos"].account = OWN
    aws.bind(request)  # the control


def test_an_application_does_not_reach_a_bucket_that_another_account_recreated(aws: InMemoryAws) -> None:
    request = request_for()
    answer, _ = aws.bind(request)
    assert aws.iam.refuses(key_of(answer), "photos", OWN) == ""
    assert aws.iam.refuses(key_of(answer), "photos", OTHER_ACCOUNT) == "AccessDenied"
    aws.s3.buckets["photos"] = Bucket(region="eu-central-1", account=OTHER_ACCOUNT, is_open=True)
    assert not aws.provisioner.is_intact(builders.again(request, answer))


def test_a_brownfield_bucket_may_be_another_accounts(aws: InMemoryAws) -> None:
    aws.s3.buckets["photos"] = Bucket(region="eu-central-1", account=OTHER_ACCOUNT, is_open=True)
    answer, _ = aws.bind(request_for(), is_greenfield=False)
    assert aws.iam.refuses(key_of(answer), "photos", OTHER_ACCOUNT) == ""


def test_a_claim_is_served_where_sts_is_out_of_reach(aws: InMemoryAws) -> None:
    aws.iam.sts_is_away = True
    aws.bind(request_for())
    assert "GetCallerIdentity" not in aws.iam.actions


@pytest.mark.parametrize(("allowed", "refusal"), [("no", "AccessDenied"), ("yes", "")])
def test_temporary_credentials_of_a_leaked_key_work_only_where_the_class_says_so(
    aws: InMemoryAws, allowed: str, refusal: str
) -> None:
    answer, _ = aws.bind(request_for(allowSessions=allowed))
    session = aws.iam.get_session(key_of(answer))
    assert aws.iam.refuses(key_of(answer), "photos", OWN) == "", "the control"
    del aws.iam.keys[key_of(answer)]
    assert aws.iam.refuses(session, "photos", OWN) == refusal


@pytest.mark.parametrize("found", ["", "arn:aws:iam::000000000000:policy/wider"])
def test_a_boundary_that_was_changed_or_came_later_is_set_again(aws: InMemoryAws, found: str) -> None:
    request = request_for(permissionsBoundary=BOUNDARY)
    answer, _ = aws.bind(request)
    user = aws.iam.users[request.user_id]
    assert user.boundary == BOUNDARY
    user.boundary = found
    again, _ = aws.bind(builders.again(request, answer))
    assert user.boundary == BOUNDARY
    assert again.repairs == ("permissions boundary of the user",)
    assert key_of(again) == key_of(answer)


def test_a_boundary_that_the_class_does_not_name_stays(aws: InMemoryAws) -> None:
    request = request_for()
    answer, _ = aws.bind(request)
    aws.iam.users[request.user_id].boundary = BOUNDARY
    assert aws.bind(builders.again(request, answer))[0].repairs == ()
    assert aws.iam.users[request.user_id].boundary == BOUNDARY


def test_policies_that_others_gave_the_user_are_named_and_stay(aws: InMemoryAws) -> None:
    request = request_for()
    answer, _ = aws.bind(request)
    user = aws.iam.users[request.user_id]
    user.policies["admin"] = 0.0, {"Statement": []}
    user.attached.append("arn:aws:iam::aws:policy/AdministratorAccess")
    (warning,) = aws.bind(builders.again(request, answer))[0].warnings
    assert "admin" in warning
    assert "AdministratorAccess" in warning
    assert set(user.policies) == {"objectbucket", "admin"}


@pytest.mark.parametrize(
    "lost", [("cluster_id",), ("claim_uid",), ("cluster_id", "claim_uid", "claim_namespace", "claim_name")]
)
@pytest.mark.parametrize("verb", ["revoke", "delete"])
def test_a_user_that_lost_some_or_all_of_its_tags_is_not_left_behind_in_silence(
    aws: InMemoryAws, verb: str, lost: tuple[str, ...]
) -> None:
    request = request_for()
    answer, _ = aws.bind(request)
    tags = aws.iam.users[request.user_id].tags
    values = {name: tags.pop(name) for name in [f"objectbucket_{part}" for part in lost]}
    with pytest.raises(RetrySlowly, match="lost the tags"):
        getattr(aws.provisioner, verb)(builders.recorded(answer, request))
    assert aws.iam.refuses(key_of(answer), "photos", OWN) == ""
    tags.update(values)
    getattr(aws.provisioner, verb)(builders.recorded(answer, request))
    assert (aws.iam.users, aws.iam.keys) == ({}, {})


def test_an_adopted_user_that_lost_its_tags_is_not_left_behind_in_silence(aws: InMemoryAws) -> None:
    """Its name is the Go provisioner's; that this claim was bound with it, the policy tells that only we write."""
    legacy = f"arn:aws:iam::{OWN}:user/photos-aB3xZ"
    aws.iam.users["photos-aB3xZ"] = FakeUser(arn=legacy, tags={})
    request = replace(request_for(), taken_over=True, additional_state={"UserName": "photos-aB3xZ", "ARN": legacy})
    answer, _ = aws.bind(request)
    record = builders.recorded(answer, request)
    assert record.additional_state["UserName"] == "photos-aB3xZ"
    tags = dict(aws.iam.users["photos-aB3xZ"].tags)
    aws.iam.users["photos-aB3xZ"].tags.clear()
    with pytest.raises(RetrySlowly, match="lost the tags"):
        aws.provisioner.revoke(record)
    aws.iam.users["photos-aB3xZ"].tags.update(tags)
    aws.provisioner.revoke(record)
    assert (aws.iam.users, aws.iam.keys) == ({}, {})


@pytest.mark.parametrize("cluster_id", ["", "another"])
def test_a_recorded_user_that_is_anothers_or_was_never_adopted_is_left_alone(aws: InMemoryAws, cluster_id: str) -> None:
    user = f"arn:aws:iam::{OWN}:user/photos-aB3xZ"
    request = request_for()
    tags = replace(request.owner, cluster_id=cluster_id).ownership_tags() if cluster_id else {}
    aws.iam.users["photos-aB3xZ"] = FakeUser(arn=user, tags=tags)
    intent = builders.intent(request)
    state = {"UserName": "photos-aB3xZ", "ARN": user}
    aws.provisioner.revoke(replace(intent, connection=replace(intent.connection, additional_state=state)))
    assert "photos-aB3xZ" in aws.iam.users


def test_a_class_may_prescribe_how_names_of_new_buckets_begin(aws: InMemoryAws) -> None:
    with pytest.raises(InvalidClaim, match="does not begin with k8s-"):
        aws.provisioner.provision(request_for(bucketNamePrefix="k8s-"))
    assert aws.s3.requests == []
    request = request_for(bucketNamePrefix="pho")
    answer, _ = aws.bind(request)
    narrowed = {**request.parameters, "bucketNamePrefix": "k8s-"}
    again, _ = aws.bind(replace(builders.again(request, answer), parameters=narrowed))
    assert key_of(again) == key_of(answer), "an edit of the class reaches new claims only"


def policy_for(account: str, effect: str = "Allow") -> dict[str, str]:
    reader = {"AWS": f"arn:aws:iam::{account}:role/reader"}
    return {
        "bucketPolicy": json.dumps({"Statement": {"Effect": effect, "Principal": reader, "Action": "s3:GetObject"}})
    }


def test_a_claims_policy_lets_in_its_own_account_and_those_that_the_class_names(aws: InMemoryAws) -> None:
    with pytest.raises(InvalidConfig, match=f"account {OTHER_ACCOUNT}"):
        aws.provisioner.provision(request_for(config=policy_for(OTHER_ACCOUNT)))
    assert not aws.s3.buckets
    aws.bind(request_for(config=policy_for(OTHER_ACCOUNT), bucketPolicyAccounts=OTHER_ACCOUNT))


@pytest.mark.parametrize(("account", "effect"), [(OWN, "Allow"), (OTHER_ACCOUNT, "Deny")])
def test_a_claims_policy_may_name_its_own_account_and_shut_others_out(
    aws: InMemoryAws, account: str, effect: str
) -> None:
    aws.bind(request_for(config=policy_for(account, effect)))


@pytest.mark.parametrize("name", ["photos--use1-az4--x-s3", "photos-s3alias", "photos--table-s3"])
def test_what_is_no_general_purpose_bucket_is_refused_by_its_name(aws: InMemoryAws, name: str) -> None:
    with pytest.raises(InvalidParameters, match="general purpose bucket"):
        aws.provisioner.grant(replace(request_for(), bucket_name=name))
    assert aws.s3.requests == []


def test_an_encryption_rule_is_written_once_and_keeps_what_else_it_says(aws: InMemoryAws) -> None:
    request = request_for(kmsKeyId="1234abcd-12ab-34cd-56ef-1234567890ab")
    answer, _ = aws.bind(request)
    assert "<EncryptionType>SSE-C</EncryptionType>" in aws.s3.buckets["photos"].encryption
    assert "1234abcd" in aws.s3.buckets["photos"].encryption
    aws.bind(builders.again(request, answer))
    assert aws.s3.requests.count("PUT photos?encryption") == 1


def test_versions_that_a_bucket_has_to_keep_are_the_claims_mistake(aws: InMemoryAws) -> None:
    request = request_for()
    answer, _ = aws.bind(request)
    aws.s3.buckets["photos"].has_replication = True
    edited = replace(request.claim, additional_config={"bucketVersioning": "Suspended"})
    with pytest.raises(InvalidConfig, match=r"bucketVersioning \(InvalidBucketState\)"):
        aws.provisioner.provision(replace(builders.again(request, answer), claim=edited))
