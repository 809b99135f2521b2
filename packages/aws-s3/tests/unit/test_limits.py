"""What a claim, its Secret or a class says is parsed or refused at once, whatever it is, and never fails otherwise."""

from __future__ import annotations

import gc
import json
import time
from contextlib import contextmanager, suppress
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aws_s3_provisioner.client import Connector
from aws_s3_provisioner.ownership import is_name, is_reserved
from aws_s3_provisioner.parameters import Admin, parse_parameters, parse_versioning
from aws_s3_provisioner.policy import Scope, build_access, may_list
from aws_s3_provisioner.sdk_clients import Limits
from aws_s3_provisioner.settings import parse_settings
from libbucket import (
    AccessKeys,
    Authentication,
    InvalidClaim,
    InvalidConfig,
    InvalidParameters,
    SecretStr,
)
from libbucket.testing import builders
from libbucket.testing.misbehaving import Answer, scripted_server
from testkit.aws_s3.fakes import provisioner_for, request_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aws_s3_provisioner.client import Clients

P = ParamSpec("P")
DEADLINE = 0.2
"""Seconds of this thread's own time, for parsers that take some milliseconds. Not of the clock on the wall, which other
tests on the same machine share. Without limits the poison below took seconds, or ended in an error of Python's."""

LONG = 60_000
ADMIN = Admin(access_key="AKIA", secret_key=SecretStr("s3cr3t"), token=SecretStr(""))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**60), 10**60) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)
NAMES = ["Statement", "Effect", "Action", "Principal", "AWS", "Resource", "Condition", "Sid", "NotAction", "Version"]
POLICIES = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["Allow", "Deny", "s3:*", "s3:[", "arn:aws:s3:::b"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=30,
)
RULES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates().map(str),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["Rules", "ID", "Status", "Filter", "Expiration", "Date", "Days", "Transitions", "Prefix"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


def at_once(test: Callable[P, None]) -> Callable[P, None]:
    """Has a test fail that takes longer than the deadline, each example of a property by itself.

    Without the garbage collector: what the tests before have left takes longer to look through than any parser.
    """

    @wraps(test)
    def timed(*args: P.args, **kwargs: P.kwargs) -> None:
        gc.disable()
        try:
            began = time.thread_time()
            test(*args, **kwargs)
            assert time.thread_time() - began < DEADLINE
        finally:
            gc.enable()

    return timed


@cache
def clients() -> Clients:
    """Made once: what is measured is the parsing."""
    stack = _connected()
    return stack.__enter__()


@contextmanager
def _connected() -> Iterator[Clients]:
    with Connector(Limits(), lambda: None).connect(parse_parameters({}), ADMIN) as found:
        yield found


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    clients()
    parse(bucketLifecycle='{"Rules": [{"Status": "Enabled", "Expiration": {"Date": "2030-01-01"}}]}')


def parse(**config: str) -> Any:
    return parse_settings(builders.options(config=config), parse_parameters({}), clients())


def refused(key: str, value: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        parse(**{key: value})
    message = caught.value.message
    assert message.startswith(f"additionalConfig.{key} ")
    return message


def rule(**members: object) -> str:
    return json.dumps({"Rules": [{"Status": "Enabled", "Filter": {}, **members}]})


def statement(**members: object) -> str:
    return json.dumps({"Statement": [{"Effect": "Allow", **members}]})


POISON = {
    "deep": "[" * LONG,
    "deep-object": '{"a":' * (LONG // 5),
    "digits": '{"Rules": ' + "9" * LONG + "}",
    "infinity": '{"Rules": Infinity}',
    "long": " " * 1_500_000,
    "quotes": '"' * LONG,
    "backslashes": '{"a": "' + "\\" * LONG,
    "no-json": "{" * 20,
}
LIFECYCLES = {
    "date-of-digits": rule(Expiration={"Date": "1" * LONG}),
    "date-of-few-digits": rule(Expiration={"Date": "9" * 20}),
    "date-of-tokens": rule(Expiration={"Date": "1." * (LONG // 2)}),
    "date-beyond-time": rule(Expiration={"Date": 1e300}),
    "date-before-time": rule(Expiration={"Date": -(10**18)}),
    "infinite-date": '{"Rules": [{"Status": "Enabled", "Expiration": {"Date": 1e999}}]}',
    "many-rules": json.dumps({"Rules": [{}] * (LONG // 4)}),
    "many-members": json.dumps({f"k{n}": 1 for n in range(LONG // 12)}),
    "long-member": json.dumps({"Rules": [], "x" * LONG: 1}),
    "surrogate-member": '{"Rules": [{"Status": "Enabled", "\\ud800": 1}]}',
    "no-rules": '{"Rules": {"a": 1}}',
}
POLICY_POISON = {
    "effect-list": '{"Statement": [{"Effect": []}]}',
    "effect-object": '{"Statement": [{"Effect": {}}]}',
    "many-statements": json.dumps({"Statement": [{}] * (LONG // 4)}),
    "many-principals": statement(Principal={"AWS": ["*"] * (LONG // 6)}, Action="s3:GetObject"),
    "long-principal": statement(Principal={"AWS": "arn:aws:iam::123456789012:user/" + "a/" * 25_000 + "!"}),
    "long-action": statement(Action="s3:" + "*a" * 25_000),
    "brackets": statement(Action="s3:" + "[" * 30_000),
    "odd-members": '{"Statement": [{"Effect": "Allow", "Principal": {"AWS": [{}]}, "Action": [[]], "Resource": [{}]}]}',
}


@pytest.mark.parametrize("value", POISON.values(), ids=POISON)
@pytest.mark.parametrize("key", ["bucketPolicy", "bucketLifecycle"])
@at_once
def test_poisoned_json_is_refused_at_once_by_its_key(key: str, value: str) -> None:
    assert len(refused(key, value)) < 300


@pytest.mark.parametrize("value", LIFECYCLES.values(), ids=LIFECYCLES)
@at_once
def test_poisoned_rules_are_refused_at_once_in_a_short_message(value: str) -> None:
    message = refused("bucketLifecycle", value)
    assert len(message) < 700
    assert message.isascii()


@pytest.mark.parametrize("value", POLICY_POISON.values(), ids=POLICY_POISON)
@at_once
def test_poisoned_policies_are_refused_at_once_in_a_short_message(value: str) -> None:
    assert len(refused("bucketPolicy", value)) < 3000


@settings(deadline=None)
@given(JSON | RULES)
@at_once
def test_any_json_is_taken_as_rules_or_refused_at_once(value: object) -> None:
    with suppress(InvalidConfig):
        parse(bucketLifecycle=json.dumps(value))


@settings(deadline=None)
@given(st.text(max_size=40) | st.floats() | st.integers() | st.datetimes().map(str))
@example("9" * 12)
@example("0001-01-01")
@example("9999-12-31T23:59:59-23:59")
@at_once
def test_any_date_is_taken_or_refused_and_one_that_is_taken_can_be_sent(value: object) -> None:
    with suppress(InvalidConfig):
        document = parse(bucketLifecycle=rule(Expiration={"Date": value})).lifecycle
        given = {"Bucket": "photos", "LifecycleConfiguration": document}
        s3: Any = clients().s3
        s3._serializer.serialize_to_request(
            given, s3.meta.service_model.operation_model("PutBucketLifecycleConfiguration")
        )


@settings(deadline=None)
@given(JSON | POLICIES)
@at_once
def test_any_json_is_taken_as_a_policy_or_refused_at_once(value: object) -> None:
    with suppress(InvalidConfig):
        parse(bucketPolicy=json.dumps(value))


@settings(deadline=None)
@given(st.text())
@example("x" * 1_000_000)
@at_once
def test_any_text_as_a_value_is_taken_or_refused_at_once(value: str) -> None:
    for key in ("bucketPolicy", "bucketLifecycle", "bucketVersioning"):
        with suppress(InvalidConfig):
            parse(**{key: value})
    with suppress(InvalidConfig):
        parse_versioning({"bucketVersioning": value})


def test_a_refused_value_is_not_repeated_at_length() -> None:
    assert len(refused("bucketVersioning", "x" * 1_000_000)) < 300
    assert refused("bucketVersioning", "\ud800\n").isascii()


@settings(deadline=None)
@given(st.text() | st.from_regex(r"[a-z0-9.-]{0,70}", fullmatch=True))
@example("1" * 1_000_000)
@example("1." * 500_000)
@example("a" * 63 + "\n")
@at_once
def test_any_text_is_a_bucket_name_or_is_none_at_once(name: str) -> None:
    assert not is_name(name) or 3 <= len(name) <= 63
    is_reserved(name)


def test_a_name_that_is_no_bucket_name_is_not_repeated_at_length() -> None:
    request = builders.options(parameters=request_to("http://store.invalid").parameters, bucket_name="A" * 100_000)
    with pytest.raises(InvalidClaim) as caught:
        provisioner_for().provision(request)
    assert len(caught.value.message) < 500


PARAMETERS = ["region", "tags", "iamPath", "permissionsBoundary", "kmsKeyId", "iamPolicy", "s3Endpoint", "pathStyle"]
CLASSES = {
    "tags": {"tags": "x," * 120_000},
    "good-tags": {"tags": ",".join(f"k{n}=v" for n in range(30_000))},
    "pattern-of-brackets": {"iamPolicy": statement(Action="s3:" + "[" * LONG)},
    "pattern-of-stars": {"iamPolicy": statement(Action="s3:" + "*a" * (LONG // 2))},
    "many-statements": {"iamPolicy": json.dumps({"Statement": [{f"m{n}": 1} for n in range(5000)]})},
    "deep-policy": {"iamPolicy": "[" * 200_000},
    "effect": {"iamPolicy": '{"Statement": [{"Effect": []}]}'},
    "endpoint": {"s3Endpoint": "https://" + "a." * 100_000},
    "path": {"iamPath": "/" + "a" * 200_000},
    "region": {"region": "a" * 200_000},
    "boundary": {"permissionsBoundary": "arn:aws:iam::123456789012:policy/" + "a" * 100_000 + "!"},
}


@pytest.mark.parametrize("parameters", CLASSES.values(), ids=CLASSES)
@at_once
def test_a_poisoned_class_is_refused_at_once(parameters: dict[str, str]) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parse_parameters(parameters)
    assert caught.value.mistakes


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(PARAMETERS), st.text(), max_size=4))
@at_once
def test_any_class_is_taken_or_refused_at_once(parameters: dict[str, str]) -> None:
    with suppress(InvalidParameters):
        parse_parameters(parameters)


@settings(deadline=None)
@given(JSON | POLICIES)
@at_once
def test_any_policy_of_a_class_is_taken_or_refused_at_once_and_one_that_is_taken_can_be_used(value: object) -> None:
    with suppress(InvalidParameters):
        template = parse_parameters({"iamPolicy": json.dumps(value)}).iam_policy
        may_list(template)
        build_access(Scope(bucket_arn="arn:aws:s3:::photos"), template=template)


@pytest.mark.parametrize("access_key", ["", "A\nB", "A/B", "A,B", "é", "A" * 129, "A" * 1_000_000, "A B", "\ud800"])
def test_what_can_be_no_access_key_is_not_sent(access_key: str) -> None:
    with scripted_server(Answer(status=500)) as server:
        assert not provisioner_for().is_intact(_holding(server.url, access_key, "s3cr3t"))
        assert server.requests == []


@pytest.mark.parametrize("secret", ["", "s" * 1025, "s" * 1_000_000])
def test_what_can_be_no_secret_is_not_sent(secret: str) -> None:
    with scripted_server(Answer(status=500)) as server:
        assert not provisioner_for().is_intact(_holding(server.url, "AKIAIOSFODNN7EXAMPLE", secret))
        assert server.requests == []


@pytest.mark.parametrize("access_key", ["AKIAIOSFODNN7EXAMPLE", "claim@shop", "photos-1"])
def test_what_may_be_an_access_key_is_sent(access_key: str) -> None:
    body = b"<Error><Code>InvalidAccessKeyId</Code></Error>"
    with scripted_server(Answer(status=403, body=body)) as server:
        assert not provisioner_for().is_intact(_holding(server.url, access_key, "s3cr3t é\n"))
        assert len(server.requests) == 1


def _holding(url: str, access_key: str, secret: str) -> Any:
    keys = AccessKeys(access_key_id=access_key, secret_access_key=SecretStr(secret))
    return builders.options(parameters=request_to(url).parameters, credentials=Authentication(access_keys=keys))
