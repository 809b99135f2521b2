"""Names of objects and generated names of buckets."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libbucket._reconcile.model.names import (
    bucket_object_names,
    generated_bucket_name,
    is_generated_bucket_name,
    is_object_name,
    provisioner_label,
)

DNS_LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
DNS_NAME = st.lists(DNS_LABEL, min_size=1, max_size=5).map(".".join).filter(lambda name: len(name) <= 253)
S3 = re.compile(r"(?!xn--)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
AZURE = re.compile(r"[a-z0-9](-?[a-z0-9])*")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("aws-s3.io/bucket", "aws-s3.io-bucket"),
        ("minio.io/bucket", "minio.io-bucket"),
        ("bucket", "bucket"),
        ("ns.noobaa.io/obc", "ns.noobaa.io-obc"),
        ("x" * 62 + "/y", "x" * 62),
        ("x" * 100, "x" * 63),
    ],
)
def test_the_label_is_the_provisioner_name_as_a_label_value(name: str, label: str) -> None:
    assert provisioner_label(name) == label


@settings(deadline=None)  # on a busy machine, time says nothing
@given(domain=DNS_NAME, name=DNS_NAME)
def test_every_provisioner_name_has_a_valid_label(domain: str, name: str) -> None:
    label = provisioner_label(f"{domain}/{name}")

    assert len(label) <= 63
    assert LABEL.fullmatch(label)


def test_an_object_bucket_is_named_after_namespace_and_claim() -> None:
    assert bucket_object_names("shop", "photos", "u-1")[0] == "obc-shop-photos"


def test_two_claims_that_share_the_usual_name_have_different_names_to_fall_back_on() -> None:
    one, other = bucket_object_names("a-b", "c", "u-1"), bucket_object_names("a", "b-c", "u-2")

    assert one[0] == other[0] == "obc-a-b-c"
    assert one[1] != other[1]
    assert one[1].startswith("obc-a-b-c-")


def test_a_tenant_cannot_take_the_third_name_of_another_claim() -> None:
    victim = bucket_object_names("a-b", "c", "u-1")
    thief = [bucket_object_names("a", name, "u-2")[0] for name in ("b-c", victim[1].removeprefix("obc-a-"))]

    assert [*victim[:2]] == thief
    assert victim[2] not in thief
    assert victim[2] != bucket_object_names("a-b", "c", "u-3")[2]


def test_the_names_of_a_claim_never_change() -> None:
    assert bucket_object_names("a-b", "c", "u-1") == (
        "obc-a-b-c",
        "obc-a-b-c-4e84717d75bd",
        "obc-a-b-c-42264aa802d3",
    )


@settings(deadline=None)  # on a busy machine, time says nothing
@given(namespace=DNS_LABEL, name=DNS_NAME)
def test_all_names_are_valid_and_distinct_for_any_claim(namespace: str, name: str) -> None:
    names = bucket_object_names(namespace, name, "u-1")

    assert len(set(names)) == 3
    for one in names:
        assert len(one) <= 253
        assert SUBDOMAIN.fullmatch(one)
        assert is_object_name(one)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../secrets/x", "a%2fb", "Photos", "photos\n", "a..b", "x" * 254, "phötos"]
)
def test_invalid_object_names_are_detected(name: str) -> None:
    assert not is_object_name(name)


@pytest.mark.parametrize("length", range(160, 180))
def test_a_name_that_is_cut_at_a_dot_is_still_legal(length: int) -> None:
    for one in bucket_object_names("n" * 63, f"{'c' * length}.{'d' * (252 - length)}", "u-1"):
        assert SUBDOMAIN.fullmatch(one)


def test_long_names_that_begin_alike_stay_apart() -> None:
    longest = ("c" * 253, "c" * 252 + "d")
    names = [one for name in longest for one in bucket_object_names("n" * 63, name, "u-1")]

    assert len(set(names)) == 6
    assert {len(name) for name in names} <= {252, 253}


def _is_legal(name: str) -> bool:
    return len(name) <= 63 and S3.fullmatch(name) is not None and AZURE.fullmatch(name) is not None


@pytest.mark.parametrize(
    "prefix",
    [
        "photos",
        "",
        "-",
        "--",
        "_",
        "Photos_2024",
        "a--b",
        "a..b",
        "192.168.0.1",
        "xn--bucket",
        "-leading",
        "trailing-",
        "ÜBER",
        "写真",
        "x" * 100,
        "x" * 25 + "-" + "y" * 30,
        " spaces inside ",
        "new\nline",
    ],
)
def test_a_generated_name_is_legal_in_every_store(prefix: str) -> None:
    assert _is_legal(generated_bucket_name(prefix))


@settings(deadline=None)  # on a busy machine, time says nothing
@given(prefix=st.text(max_size=80))
def test_a_generated_name_is_legal_for_every_prefix(prefix: str) -> None:
    name = generated_bucket_name(prefix)

    assert _is_legal(name)
    assert uuid.UUID(name[-36:]).version == 4


@settings(deadline=None)  # on a busy machine, time says nothing
@given(prefix=DNS_LABEL.filter(lambda one: "--" not in one and len(one) <= 26))
def test_a_prefix_that_is_legal_is_kept_as_it_is(prefix: str) -> None:
    assert generated_bucket_name(prefix)[:-37] == prefix


def test_a_prefix_is_cut_to_26_characters_like_the_go_library_does() -> None:
    name = generated_bucket_name("abcdefghijklmnopqrstuvwxyz-and-more")

    assert name.startswith("abcdefghijklmnopqrstuvwxyz-")
    assert len(name) == 63


def test_the_same_prefix_never_yields_the_same_name() -> None:
    assert generated_bucket_name("photos") != generated_bucket_name("photos")


@pytest.mark.parametrize("prefix", ["photos", "", "Photos_2026", "x" * 40, "-", "a-"])
def test_a_generated_name_is_known_again_by_its_prefix(prefix: str) -> None:
    assert is_generated_bucket_name(generated_bucket_name(prefix), prefix)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("photos", "photos"),
        ("photos-2026", "photos"),
        (generated_bucket_name("photos"), "pictures"),
        (generated_bucket_name("photos"), ""),
        (generated_bucket_name("photos") + "-2", "photos"),
        (f"photos-{uuid.UUID(int=7)}", "photos"),
    ],
    ids=["chosen", "chosen-with-prefix", "other-prefix", "no-prefix", "suffix", "not-random"],
)
def test_a_chosen_name_does_not_count_as_generated(name: str, prefix: str) -> None:
    assert not is_generated_bucket_name(name, prefix)
