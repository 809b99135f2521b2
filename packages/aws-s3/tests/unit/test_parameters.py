"""What a class, a claim and an administrator's Secret may say, and what each mistake is told."""

from __future__ import annotations

import json
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aws_s3_provisioner.parameters import (
    check_policy_length,
    parse_admin,
    parse_json,
    parse_parameters,
    parse_versioning,
)
from aws_s3_provisioner.provisioner import AwsS3Provisioner
from libbucket import InvalidAdminSecret, InvalidConfig, InvalidParameters, SecretStr, Services

READ_ONLY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"]}]}
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


def mistakes(**parameters: str) -> tuple[str, ...]:
    with pytest.raises(InvalidParameters) as refused:
        parse_parameters(parameters)
    return refused.value.mistakes


def test_a_class_may_say_nothing_at_all() -> None:
    parsed = parse_parameters({})
    assert (parsed.region, parsed.create_user, parsed.iam_path) == ("us-west-1", True, "/objectbucket/")
    assert not parsed.path_style
    assert parsed.tags_on_creation
    assert parsed.warnings == ()


def test_a_class_of_the_go_provisioner_is_taken() -> None:
    given = {"region": "eu-west-1", "secretName": "s", "secretNamespace": "n", "createBucketUser": "yes"}
    assert parse_parameters({**given, "bucketName": "photos"}).warnings == ()


def test_a_class_of_cloudians_is_taken_with_a_bare_host_and_its_policy() -> None:
    # As in that provisioner's own guide; `s3:HeadObject` is no action of S3's.
    policy = {"Version": "2012-10-17", "Statement": [{"Sid": "A", "Effect": "Allow", "Action": ["s3:HeadObject"]}]}
    given = {"region": "reg-1", "s3Endpoint": "s3-reg-1.example.com", "iamEndpoint": "http://iam.example.com:16080"}
    parsed = parse_parameters({**given, "iamPolicy": json.dumps(policy)})
    assert (parsed.s3_endpoint, parsed.iam_endpoint) == ("https://s3-reg-1.example.com", "http://iam.example.com:16080")
    assert parsed.path_style
    assert not parsed.tags_on_creation
    assert parsed.iam_policy == policy


def test_handing_out_the_administrators_keys_is_warned_about() -> None:
    parsed = parse_parameters({"createBucketUser": "no", "secretName": "s", "secretNamespace": "n"})
    assert not parsed.create_user
    assert any("administrator's own keys" in warning for warning in parsed.warnings)


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"region": "eu west"}, "region"),
        ({"secretName": "s"}, "secretNamespace"),
        ({"secretNamespace": "n"}, "secretName"),
        ({"createBucketUser": "perhaps"}, "createBucketUser"),
        ({"createBucketUser": "no"}, "secretName"),
        ({"s3Endpoint": "https://minio.example.com"}, "iamEndpoint"),
        ({"s3Endpoint": "https://s3.example.com/path"}, "s3Endpoint"),
        ({"iamEndpoint": "ftp://x"}, "iamEndpoint"),
        ({"stsEndpoint": "https://x?y"}, "stsEndpoint"),
        ({"pathStyle": "maybe"}, "pathStyle"),
        ({"iamPath": "objectbucket"}, "iamPath"),
        ({"permissionsBoundary": "boundary"}, "permissionsBoundary"),
        ({"kmsKeyId": "alias/buckets"}, "kmsKeyId"),
        ({"objectOwnership": "Mine"}, "objectOwnership"),
        ({"versioning": "Enabled"}, "versioning"),
        ({"tags": "team"}, "tags"),
        ({"tags": "=x"}, "tags"),
        ({"tags": "a=1,a=2"}, "twice"),
        ({"tags": "Team=1,team=2"}, "twice"),
        ({"tags": "aws:team=x"}, "reserved"),
        ({"bucketNamePrefix": "K8s-"}, "bucketNamePrefix"),
        ({"bucketPolicyAccounts": "123456789012, 42"}, "12 digits"),
        ({"s3Endpoint": "https://s3.eu-west-1.amazonaws.com", "fips": "true"}, "fips"),
        ({"s3Endpoint": "https://s3.eu-west-1.amazonaws.com", "dualstack": "true"}, "dualstack"),
        ({"tags": "objectbucket_claim_uid=x"}, "reserved"),
        ({"tags": "team=*"}, "character"),
        ({"tags": f"team={'x' * 257}"}, "long"),
        ({"tags": ",".join(f"t{n}=x" for n in range(41))}, "at most 40"),
        ({"iamPolicy": "{"}, "JSON"),
        ({"iamPolicy": "[]"}, "Statement"),
        ({"iamPolicy": '{"Statement": [{"Effect": "Allow"}]}'}, "Action"),
        ({"iamPolicy": json.dumps({"Statement": [{**READ_ONLY["Statement"][0], "Resource": "*"}]})}, "filled in"),  # type: ignore[dict-item]
        ({"iamPolicy": json.dumps({"Statement": [{**READ_ONLY["Statement"][0], "Principal": "*"}]})}, "Principal"),  # type: ignore[dict-item]
        ({"iamPolicy": json.dumps({**READ_ONLY, "Version": "2008-10-17"})}, "Version"),
        ({"iamPolicy": '{"Statement": [{"Effect": "Allow", "Action": "iam:*"}]}'}, "s3:GetObject"),
    ],
    ids=str,
)
def test_a_mistake_is_named(parameters: dict[str, str], word: str) -> None:
    assert any(word in mistake for mistake in mistakes(**parameters))


@pytest.mark.parametrize(
    "parameters",
    [
        {"region": "reg-1", "s3Endpoint": "https://s3.example.com", "iamEndpoint": "https://iam.example.com"},
        {
            "s3Endpoint": "https://minio.example.com",
            "createBucketUser": "no",
            "secretName": "s",
            "secretNamespace": "n",
        },
        {"s3Endpoint": "https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com"},
        {"iamPath": "/"},
        {"bucketNamePrefix": "k8s-", "bucketPolicyAccounts": "123456789012,210987654321", "allowSessions": "yes"},
        {"fips": "true", "dualstack": "true"},
        {"iamPath": "/buckets/shop/"},
        {"permissionsBoundary": "arn:aws:iam::123456789012:policy/team/boundary"},
        {"kmsKeyId": KEY},
        {"kmsKeyId": f"arn:aws:kms:eu-west-1:123456789012:key/{KEY}"},
        {"objectOwnership": "ObjectWriter"},
        {"tags": "team=shop, cost centre=a/b@c+d=e"},
        {"iamPolicy": json.dumps(READ_ONLY)},
        {"iamPolicy": '{"Statement": {"Effect": "Deny", "Action": "s3:DeleteObject"}}'},
    ],
    ids=str,
)
def test_what_is_right_is_taken(parameters: dict[str, str]) -> None:
    assert not [text for text in parse_parameters(parameters).warnings if "unknown" in text]


def test_a_policy_that_is_too_long_for_iam_is_refused_before_anything_is_made() -> None:
    actions = [f"s3:{chr(97 + n) * 60}" for n in range(25)]
    policy = json.dumps({"Statement": [{"Effect": "Allow", "Action": actions}]})
    with pytest.raises(InvalidParameters, match=r"iamPolicy is \d+ characters too long"):
        check_policy_length(parse_parameters({"iamPolicy": policy}))
    check_policy_length(parse_parameters({"kmsKeyId": "mrk-" + "0" * 32}))


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes(region="!", iamPath="x", tags="y", kmsKeyId="z")) == 4


def test_tags_keep_what_stands_after_the_first_sign() -> None:
    assert parse_parameters({"tags": "a=b=c, d = e f"}).tags == {"a": "b=c", "d": "e f"}


@pytest.mark.parametrize("key", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_a_secret_without_a_key_is_named(key: str, value: str | None) -> None:
    data = {"AWS_ACCESS_KEY_ID": SecretStr("AKIA"), "AWS_SECRET_ACCESS_KEY": SecretStr("s3cr3t")}
    del data[key]
    if value is not None:
        data[key] = SecretStr(value)
    with pytest.raises(InvalidAdminSecret, match=f"aws/admin: {key}") as refused:
        parse_admin(data, named="aws/admin")
    assert "s3cr3t" not in refused.value.message


def test_a_secret_may_hold_a_token_and_line_ends() -> None:
    data = {"AWS_ACCESS_KEY_ID": "AKIA\n", "AWS_SECRET_ACCESS_KEY": "s\n", "AWS_SESSION_TOKEN": "t\n"}
    admin = parse_admin({key: SecretStr(value) for key, value in data.items()}, named="aws/admin")
    assert (admin.access_key, admin.secret_key.reveal(), admin.token.reveal()) == ("AKIA", "s", "t")


@pytest.mark.parametrize("value", ["enabled", "", "Disabled"])
def test_versioning_is_one_of_two_words(value: str) -> None:
    with pytest.raises(InvalidConfig, match="bucketVersioning"):
        parse_versioning({"bucketVersioning": value})
    assert parse_versioning({"bucketVersioning": "Enabled"}) == "Enabled"
    assert parse_versioning({}) is None


@pytest.mark.parametrize("value", ["", "{", "[]", "3", "null"])
def test_json_is_an_object(value: str) -> None:
    with pytest.raises(InvalidConfig, match="bucketPolicy"):
        parse_json({"bucketPolicy": value}, "bucketPolicy")
    assert parse_json({"bucketPolicy": '{"a": 1}'}, "bucketPolicy") == {"a": 1}
    assert parse_json({}, "bucketPolicy") is None


@pytest.mark.parametrize(
    ("parameters", "server"),
    [
        ({}, ("AWS", "us-west-1")),
        ({"region": " eu-west-1 ", "tags": "a=b"}, ("AWS", "eu-west-1")),
        ({"region": "eu-west-1", "s3Endpoint": "https://S3.example.com"}, ("s3.example.com", "443")),
        ({"region": "eu-west-2", "s3Endpoint": "s3.example.com:443", "tags": "x=y"}, ("s3.example.com", "443")),
        ({"s3Endpoint": "http://s3.example.com"}, ("s3.example.com", "80")),
    ],
)
def test_classes_of_one_server_have_one_store_id(parameters: dict[str, str], server: tuple[str, str]) -> None:
    assert a_provisioner_of_nothing().store_id(parameters) == server


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["s3Endpoint", "region", "iamEndpoint"]), st.text()))
@example({"s3Endpoint": "http://["})
@example({"s3Endpoint": "http://host:99999"})
@example({"s3Endpoint": "http://host:port"})
def test_a_store_id_is_given_whatever_the_parameters_hold(parameters: dict[str, str]) -> None:
    provisioner = a_provisioner_of_nothing()
    assert hash(provisioner.store_id(parameters)) == hash(provisioner.store_id(dict(parameters)))


@cache
def a_provisioner_of_nothing() -> AwsS3Provisioner:
    return AwsS3Provisioner(Services(read_secret=lambda *_: {}))
