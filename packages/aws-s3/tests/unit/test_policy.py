"""What a user may do, and which policies a claim may put on its bucket."""

from __future__ import annotations

from typing import Any

import pytest

from aws_s3_provisioner.policy import (
    BUCKET_ACTIONS,
    OBJECT_ACTIONS,
    build_access,
    fill_bucket_policy,
    may_list,
    mistakes_in_bucket_policy,
)

BUCKET = "arn:aws:s3:::photos"
USER = "arn:aws:iam::123456789012:user/auditor"
RIGHT: dict[str, Any] = {"Effect": "Allow", "Principal": {"AWS": USER}, "Action": "s3:GetObject"}


def of(**changes: Any) -> list[str]:
    statement = {key: value for key, value in {**RIGHT, **changes}.items() if value is not None}
    return mistakes_in_bucket_policy({"Statement": [statement]}, BUCKET)


def test_a_user_gets_its_bucket_and_nothing_else() -> None:
    document = build_access(BUCKET, template=None, key_arn="")
    assert [statement["Resource"] for statement in document["Statement"]] == [[BUCKET], [f"{BUCKET}/*"]]
    actions = {action for statement in document["Statement"] for action in statement["Action"]}
    assert not [action for action in actions if "*" in action or not action.startswith("s3:")]
    assert not [action for action in actions if "Bucket" in action and action.startswith(("s3:Put", "s3:Delete"))]


def test_a_user_of_an_encrypting_class_gets_that_key_and_no_other() -> None:
    *_, key = build_access(BUCKET, template=None, key_arn="arn:aws:kms:r:1:key/k")["Statement"]
    assert key["Resource"] == ["arn:aws:kms:r:1:key/k"]
    assert key["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]


@pytest.mark.parametrize("as_list", [True, False])
def test_the_policy_of_a_class_is_filled_in_with_the_bucket(as_list: bool) -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Condition": {"Bool": {"aws:SecureTransport": "true"}}}
    template = {"Statement": [statement] if as_list else statement}
    (filled,) = build_access(BUCKET, template=template, key_arn="")["Statement"]
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
