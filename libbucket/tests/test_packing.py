"""Packed objects: the same ones come out, in whatever order they went in, and few bytes are kept."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libbucket._api import ClaimSpec, Meta, Metadata, ObjectBucketClaim, ObjectBucketObject
from libbucket._kube.packing import Packer
from testkit.core import Core

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def a_claim(number: int, config: Any = None) -> ObjectBucketClaim:
    metadata = Meta(name=f"claim-{number}", namespace="shop", uid=f"uid-{number}", resource_version=str(number))
    return ObjectBucketClaim(metadata=metadata, spec_or_none=ClaimSpec(additional_config=config))


def size(packed: object) -> int:
    assert isinstance(packed, bytes)
    return len(packed)


@settings(deadline=None)  # on a busy machine, time says nothing
@given(configs=st.lists(ANYTHING, max_size=40))
def test_objects_come_out_as_they_went_in_whatever_came_before_and_after(configs: list[Any]) -> None:
    packer = Packer(ObjectBucketClaim)
    claims = [a_claim(number, config) for number, config in enumerate(configs)]
    packed = [packer.pack(one) for one in claims]
    assert [packer.unpack(one) for one in packed] == claims
    assert [packer.unpack(one) for one in reversed(packed)] == claims[::-1]


def test_an_object_like_earlier_ones_takes_a_fifth_of_its_messagepack() -> None:
    core, packer = Core(), Packer(ObjectBucketObject)
    core.reconcile(core.create_claim("photos"))
    (found,) = core.caches.buckets
    packer.pack(found)
    other = msgspec.json.decode(
        msgspec.json.encode(found).replace(b"photos", b"videos-of-2026"), type=ObjectBucketObject
    )
    assert size(packer.pack(other)) < len(msgspec.msgpack.encode(other)) / 5


def test_a_dictionary_that_no_longer_fits_is_followed_by_another() -> None:
    packer = Packer(ObjectBucketClaim)
    packer.pack(a_claim(1))
    config = {f"key-{number}": secrets.token_hex(16) for number in range(20)}
    first, second = size(packer.pack(a_claim(2, config))), size(packer.pack(a_claim(3, config)))
    assert max(first, second) < 100


def test_objects_that_have_nothing_in_common_make_no_more_dictionaries_than_a_few() -> None:
    packer = Packer(ObjectBucketClaim)
    claims = [a_claim(number, secrets.token_hex(500)) for number in range(100)]
    packed = [packer.pack(one) for one in claims]
    assert [packer.unpack(one) for one in packed] == claims
    assert len(packer._dictionaries) == 16


def test_a_large_object_is_no_dictionary() -> None:
    packer = Packer(ObjectBucketClaim)
    large = a_claim(1, {"key": "x" * 100_000})
    assert packer.unpack(packer.pack(large)) == large
    assert not packer._dictionaries


@pytest.mark.parametrize("value", [2**70, "\ud800"], ids=["huge number", "lone surrogate"])
def test_what_messagepack_cannot_express_is_kept_as_it_is(value: object) -> None:
    packer, claim = Packer(ObjectBucketClaim), a_claim(1, {"key": value})
    assert packer.pack(claim) is claim
    assert packer.unpack(claim) is claim


def test_fields_without_a_value_take_no_byte() -> None:
    assert len(msgspec.msgpack.encode(Metadata(metadata=Meta(name="photos")))) < 30
