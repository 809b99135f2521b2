"""One undecodable object in a response does not affect the others."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libbucket._api import Metadata, ObjectBucketClaim
from libbucket._kube.tolerant_json import MAX_DEPTH, decode, repair

DEEP = 20_000


def nested(depth: int, inner: str = "1") -> str:
    return "[" * depth + inner + "]" * depth


@pytest.mark.parametrize(
    "odd",
    [
        b'{"metadata": {"name": "a"}, "zzz": ' + nested(DEEP).encode() + b"}",
        b'{"zzz": ' + nested(DEEP, '"]"').encode() + b', "metadata": {"name": "a"}}',
        b'{"metadata": {"name": "a"}, "spec": {"additionalConfig": {"k": ' + nested(DEEP).encode() + b"}}}",
        b'{"metadata": {"name": "a", "annotations": {"k": "\xff\xfe"}}}',
        b'{"metadata": {"name": "a", "annotations": {"k": "\\ud800"}}}',
        b'{"metadata": {"name": "a", "annotations": {"k": "\\udc00\\ud83d"}}}',
    ],
)
def test_an_object_is_decoded_with_any_content(odd: bytes) -> None:
    assert decode(odd, ObjectBucketClaim).metadata.name == "a"


def test_values_nested_too_deep_become_null_and_their_siblings_stay() -> None:
    text = '{"a": ' + nested(MAX_DEPTH + 5) + ', "b": ["]", "\\"", {"c": 1}]}'
    assert json.loads(repair(text.encode())) == {
        "a": json.loads(nested(MAX_DEPTH - 1, "null")),
        "b": ["]", '"', {"c": 1}],
    }


def test_characters_outside_of_the_first_plane_are_kept() -> None:
    text = rb'{"metadata": {"name": "\ud83d\ude00 \\ud800 \ud800"}}'
    assert decode(text, Metadata).metadata.name == "\U0001f600 \\ud800 \ufffd"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"metadata": {"na', b"[" * DEEP, b'{"a": ' + b"[" * DEEP, b"\xff"])
def test_invalid_json_stays_an_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(body, Metadata)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(value=VALUES, ascii_only=st.booleans())
def test_valid_json_is_unchanged(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert json.loads(repair(text.encode(errors="replace"))) == json.loads(text)


@settings(deadline=None)
@given(body=st.binary(max_size=200) | st.text('[]{}",:\\u0d8', max_size=200).map(str.encode))
def test_any_input_ends_in_a_value_or_a_decode_error(body: bytes) -> None:
    try:
        decode(body, Metadata)
    except msgspec.DecodeError as error:
        assert str(error)  # noqa: PT017 - either is right
