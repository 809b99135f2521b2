"""What a user may do, and which policies a claim may put on its bucket."""

from __future__ import annotations

from typing import Any

import pytest

from aws_s3_provisioner.policy import (
    BUCKET_ACTIONS,
    LONGEST_POLICY,
    OBJECT_ACTIONS,
    Scope,
    build_access,
    fill_bucket_policy,
    is_same,
    may_list,
    mistakes_in_bucket_policy,
    written,
)

BUCKET = "arn:aws:s3:::photos"
USER = "arn:aws:iam::123456789012:user/auditor"
RIGHT: dict[str, Any] = {"Effect": "Allow", "Principal": {"AWS": USER}, "Action": "s3:GetObject"}


def of(**changes: Any) -> list[str]:
    statement = {key: value for key, value in {**RIGHT, **changes}.items() if value is not None}
    return mistakes_in_bucket_policy({"Statement": [statement]}, BUCKET)


def test_a_user_gets_its_bucket_and_nothing_else() -> None:
    document = build_access(Scope(bucket_arn=BUCKET), template=None)
    assert [statement["Resource"] for statement in document["Statement"]] == [[BUCKET], [f"{BUCKET}/*"]]
    actions = {action for statement in document["Statement"] for action in statement["Action"]}
    assert not [action for action in actions if "*" in action or not action.startswith("s3:")]
    assert not [action for action in actions if "Bucket" in action and action.startswith(("s3:Put", "s3:Delete"))]


def test_a_user_of_an_encrypting_class_gets_that_key_and_no_other() -> None:
    *_, key = build_access(Scope(bucket_arn=BUCKET, key_arn="arn:aws:kms:r:1:key/k"), template=None)["Statement"]
    assert key["Resource"] == ["arn:aws:kms:r:1:key/k"]
    assert key["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]


def test_the_key_of_a_class_is_used_through_s3_and_for_the_claims_bucket_only() -> None:
    scope = Scope(bucket_arn=BUCKET, key_arn="arn:aws:kms:r:1:key/k", key_via="s3.eu-west-1.amazonaws.com")
    *_, key = build_access(scope, template=None)["Statement"]
    assert key["Condition"] == {
        "StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": [BUCKET, f"{BUCKET}/*"]},
    }


@pytest.mark.parametrize("template", [None, {"Statement": {"Effect": "Allow", "Action": "s3:*"}}], ids=str)
def test_sessions_and_buckets_of_other_accounts_are_denied_beside_any_policy(template: dict[str, Any] | None) -> None:
    scope = Scope(bucket_arn=BUCKET, account="123456789012", allows_sessions=False)
    accounts, sessions = build_access(scope, template=template)["Statement"][-2:]
    assert accounts["Condition"] == {"StringNotEquals": {"aws:ResourceAccount": "123456789012"}}
    assert sessions["Condition"] == {"Null": {"aws:TokenIssueTime": "false"}}
    for denial in (accounts, sessions):
        assert (denial["Effect"], denial["Action"]) == ("Deny", "s3:*")
        assert denial["Resource"] == [BUCKET, f"{BUCKET}/*"]


def test_a_claim_may_read_what_its_lifecycle_rules_archived() -> None:
    assert "s3:RestoreObject" in OBJECT_ACTIONS


def test_the_longest_usual_policy_is_within_the_limit_of_iam() -> None:
    arn = f"arn:aws-us-gov:s3:::{'x' * 63}"
    key = f"arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-{'0' * 32}"
    scope = Scope(
        bucket_arn=arn,
        account="123456789012",
        allows_sessions=False,
        key_arn=key,
        key_via="s3.us-gov-west-1.amazonaws.com",
    )
    document = written(build_access(scope, template=None))
    assert " " not in document
    assert len(document) <= LONGEST_POLICY


@pytest.mark.parametrize("as_list", [True, False])
def test_the_policy_of_a_class_is_filled_in_with_the_bucket(as_list: bool) -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Condition": {"Bool": {"aws:SecureTransport": "true"}}}
    template = {"Statement": [statement] if as_list else statement}
    (filled,) = build_access(Scope(bucket_arn=BUCKET), template=template)["Statement"]
    assert filled == {**statement, "Resource": [BUCKET, f"{BUCKET}/*"]}


@pytest.mark.parametrize(
    ("effect", "action", "condition", "expected"),
    [
        ("Allow", "s3:ListBucket", {}, True),
        ("Allow", ["s3:GetObject", "s3:List*"], {}, True),
        ("Allow", "s3:*", {}, True),
        ("Allow", "s3:GetObject", {}, False),
        ("Allow", "s3:ListBucket", {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
        ("Deny", "s3:ListBucket", {}, False),
    ],
)
def test_whether_a_user_may_list_is_read_from_the_policy_of_its_class(
    effect: str, action: object, condition: object, expected: bool
) -> None:
    statement = {"Effect": effect, "Action": action, "Condition": condition}
    assert may_list({"Statement": [statement]}) is expected


def test_the_usual_policy_lets_list() -> None:
    assert may_list(None)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Effect": "Deny"},
        {"Principal": {"AWS": [USER, "arn:aws-cn:iam::123456789012:role/path/reader"]}},
        {"Resource": BUCKET},
        {"Resource": [f"{BUCKET}/*", f"{BUCKET}/public/*"]},
        {"Action": list(BUCKET_ACTIONS + OBJECT_ACTIONS)},
        {"Action": "S3:getobject"},
        {"Condition": {"Bool": {"aws:SecureTransport": "false"}}},
    ],
    ids=str,
)
def test_a_claims_policy_may_let_others_use_its_objects(changes: dict[str, Any]) -> None:
    assert of(**changes) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"Principal": "*"}, "Principal"),
        ({"Principal": {"AWS": "*"}}, "Principal"),
        ({"Principal": {"AWS": [USER, "*"]}}, "Principal"),
        ({"Effect": "Deny", "Principal": "*"}, "Principal"),
        ({"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, "Principal"),
        ({"Effect": "Deny", "Principal": {"AWS": "123456789012"}}, "Principal"),
        ({"Principal": {"AWS": f"{USER}*"}}, "Principal"),
        ({"Principal": {"AWS": []}}, "Principal"),
        ({"Principal": {"Service": "logging.s3.amazonaws.com"}}, "Principal"),
        ({"Principal": {"AWS": USER, "CanonicalUser": "x"}}, "Principal"),
        ({"Principal": None}, "Principal"),
        ({"Principal": None, "NotPrincipal": {"AWS": USER}}, "NotPrincipal"),
        ({"Action": "s3:*"}, "Action"),
        ({"Action": "*"}, "Action"),
        ({"Action": "s3:PutBucketPolicy"}, "Action"),
        ({"Action": "s3:PutBucketTagging"}, "Action"),
        ({"Action": "s3:DeleteBucket"}, "Action"),
        ({"Action": ["s3:GetObject", 3]}, "Action"),
        ({"Action": None}, "Action"),
        ({"Action": None, "NotAction": "s3:GetObject"}, "NotAction"),
        ({"Resource": "*"}, "Resource"),
        ({"Resource": "arn:aws:s3:::photos*"}, "Resource"),
        ({"Resource": "arn:aws:s3:::photos-of-others/*"}, "Resource"),
        ({"Resource": [f"{BUCKET}/*", "arn:aws:s3:::other"]}, "Resource"),
        ({"NotResource": BUCKET}, "NotResource"),
        ({"Effect": "Perhaps"}, "Effect"),
    ],
    ids=str,
)
def test_a_claims_policy_that_reaches_too_far_is_refused(changes: dict[str, Any], word: str) -> None:
    assert any(word in mistake for mistake in of(**changes))


@pytest.mark.parametrize("document", [{}, {"Statement": []}, {"Statement": ["x"]}, {"Statement": None}], ids=str)
def test_what_is_no_policy_is_refused(document: dict[str, Any]) -> None:
    assert mistakes_in_bucket_policy(document, BUCKET)


def test_a_resource_that_was_left_out_is_filled_in_and_a_given_one_kept() -> None:
    given = {"Statement": [RIGHT, {**RIGHT, "Resource": BUCKET}]}
    filled = fill_bucket_policy(given, BUCKET)
    assert [statement["Resource"] for statement in filled["Statement"]] == [[BUCKET, f"{BUCKET}/*"], BUCKET]
    assert filled["Version"] == "2012-10-17"


def test_policies_are_the_same_however_a_list_of_one_is_written() -> None:
    document = build_access(Scope(bucket_arn="arn:aws:s3:::photos"), template=None)
    first, second = document["Statement"]
    stored = {**document, "Statement": [{**first, "Resource": first["Resource"][0]}, second]}
    assert is_same(stored, document)
    assert not is_same({**document, "Statement": [first]}, document)
    assert not is_same({**stored, "Statement": [{**first, "Resource": "arn:aws:s3:::others"}, second]}, document)
    assert not is_same(None, document)
