from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from libbucket import (
    AccessKeys,
    Authentication,
    Endpoint,
    ObjectBucket,
    Owner,
    SecretStr,
    has_ownership_tags,
    is_stamped,
)
from libbucket.testing import builders

SECRET = "do-not-print-me"


@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__, lambda value: f"{value!s:>20}"])
def test_a_secret_does_not_print(show: object) -> None:
    assert callable(show)
    assert SECRET not in show(SecretStr(SECRET))
    assert SECRET in show(SECRET), "the same way of printing shows a plain string"


def test_a_secret_is_not_printed_within_other_values() -> None:
    keys = AccessKeys(access_key_id="KEY", secret_access_key=SecretStr(SECRET))
    held = Authentication(access_keys=keys, additional_secret_data={"TOKEN": SecretStr(SECRET)})
    assert SECRET not in repr(builders.options(credentials=held))
    assert "KEY" in repr(held)


def test_a_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(SecretStr(SECRET))
    with pytest.raises(TypeError, match="pickled"):
        copy.copy(SecretStr(SECRET))
    assert pickle.loads(pickle.dumps("plain")) == "plain"


def test_reveal_returns_the_secret() -> None:
    assert SecretStr(SECRET).reveal() == SECRET


def test_secrets_are_equal_by_value_and_never_to_a_plain_string() -> None:
    assert SecretStr("a") == SecretStr("a")
    assert len({SecretStr("a"), SecretStr("a"), SecretStr("b")}) == 2
    assert SecretStr("a") != "a"


def test_an_empty_secret_is_false() -> None:
    assert not SecretStr("")
    assert SecretStr("x")


def test_ownership_tags_are_recognised_among_other_tags() -> None:
    owner = builders.owner()
    assert owner.matches(owner.ownership_tags())
    assert owner.matches({**owner.ownership_tags(), "team": "shop"})


@pytest.mark.parametrize("key", ["objectbucket_cluster_id", "objectbucket_claim_uid"])
def test_ownership_tags_with_another_cluster_or_uid_or_without_them_are_not_recognised(key: str) -> None:
    owner = builders.owner()
    tags = owner.ownership_tags()
    assert not owner.matches({**tags, key: "another"})
    del tags[key]
    assert not owner.matches(tags)


def test_ownership_tags_with_a_truncated_name_are_recognised() -> None:
    owner = builders.owner(name="a-very-long-name")
    assert owner.matches({**owner.ownership_tags(), "objectbucket_claim_name": "a-very-l"})


def test_ownership_tags_have_keys_that_every_store_accepts() -> None:
    tags = Owner(cluster_id="c", namespace="n", name="m", uid="u").ownership_tags()
    assert sorted(tags.values()) == ["c", "m", "n", "u"]
    assert all(key.isidentifier() and key.islower() for key in tags)


def test_deprecated_names_of_the_ownership_methods_still_work() -> None:
    owner = dataclasses.replace(builders.owner(), earlier_uids=("uid-0",))
    tags = owner.stamp()
    assert tags == owner.ownership_tags()
    assert owner.is_stamped_on(tags)
    assert owner.was_stamped_on({**tags, "objectbucket_claim_uid": "uid-0"})
    assert is_stamped(tags)


def test_a_request_is_immutable() -> None:
    request = builders.options()
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.bucket_name = "another"  # type: ignore[misc] # that is the point


def test_an_object_bucket_has_its_bucket_name_and_state_as_properties() -> None:
    ob = builders.intent(builders.options(bucket_name="photos-1"))
    assert (ob.bucket_name, ob.additional_state) == ("photos-1", {})


@pytest.mark.parametrize("key", list(builders.owner().ownership_tags()))
def test_a_part_of_the_ownership_tags_is_recognised(key: str) -> None:
    assert has_ownership_tags({key: "x"})
    assert not has_ownership_tags({"team": "shop"})


def test_a_bucket_without_ownership_tags_is_the_owners_only_if_it_was_taken_over() -> None:
    owner = builders.owner()
    assert owner.owns({"team": "shop"}, taken_over=True)
    assert not owner.owns({"team": "shop"}, taken_over=False)


@pytest.mark.parametrize("taken_over", [True, False])
def test_ownership_tags_decide_also_after_a_takeover(taken_over: bool) -> None:
    owner = builders.owner()
    other = dataclasses.replace(owner, uid="another")
    assert owner.owns(owner.ownership_tags(), taken_over=taken_over)
    assert not owner.owns(other.ownership_tags(), taken_over=taken_over)


def test_a_port_that_is_no_number_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="bucket_port must be an int"):
        Endpoint(bucket_host="store.invalid", bucket_port="443", bucket_name="photos")  # type: ignore[arg-type]
    assert Endpoint(bucket_host="store.invalid", bucket_port=443, bucket_name="photos").bucket_port == 443


def test_an_adopted_bucket_may_carry_the_tags_of_another_cluster() -> None:
    earlier = dataclasses.replace(builders.owner(), cluster_id="cluster-0", uid="uid-0")
    owner = dataclasses.replace(builders.owner(), earlier_uids=("uid-0",), earlier_clusters=("cluster-0",))

    assert owner.matches_earlier(earlier.ownership_tags())
    assert not owner.matches(earlier.ownership_tags())
    for named in ({"earlier_clusters": ()}, {"earlier_uids": ()}, {"earlier_uids": ("uid-9",)}):
        assert not dataclasses.replace(owner, **named).owns(earlier.ownership_tags(), taken_over=True)
    same_uid = dataclasses.replace(earlier, uid=owner.uid)
    assert not owner.owns(same_uid.ownership_tags(), taken_over=True), "its own uid counts in its own cluster only"


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://store.example", "store.example", 443),
        ("http://store.example", "store.example", 80),
        ("https://store.example:9000", "store.example", 9000),
        ("https://[::1]:9000", "::1", 9000),
    ],
)
def test_an_endpoint_from_a_url_has_its_host_and_port_and_the_url(url: str, host: str, port: int) -> None:
    made = Endpoint.from_url(url, bucket_name="photos", region="here", additional_config={"BUCKET_SSL": "true"})

    assert (made.bucket_host, made.bucket_port, made.bucket_name, made.region) == (host, port, "photos", "here")
    assert made.additional_config == {"BUCKET_ENDPOINT": url, "BUCKET_SSL": "true"}


def test_an_answer_with_keys_has_them_in_its_authentication_only() -> None:
    keys = AccessKeys(access_key_id="KEY", secret_access_key=SecretStr(SECRET))
    endpoint = Endpoint.from_url("https://store.example", bucket_name="photos")
    made = ObjectBucket.with_keys(endpoint, keys, state={"KeyId": "KEY"}, warnings=["odd"], repairs=["key"])

    assert made.connection.authentication == Authentication(access_keys=keys)
    assert (made.bucket_name, made.additional_state, made.warnings, made.repairs) == (
        "photos",
        {"KeyId": "KEY"},
        ("odd",),
        ("key",),
    )


def test_the_keys_of_a_request_are_those_in_the_claims_secret() -> None:
    keys = AccessKeys(access_key_id="KEY", secret_access_key=SecretStr(SECRET))

    assert builders.options(credentials=Authentication(access_keys=keys)).access_keys == keys
    assert builders.options(credentials=Authentication()).access_keys is None
    assert builders.options().access_keys is None
