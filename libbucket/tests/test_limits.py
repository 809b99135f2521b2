"""Bounded parsers of values that tenants write."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import ROUND_CEILING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity as reference

from libbucket import parse_json, parse_quantity


def quantity_or_refusal(text: str) -> int:
    """Its number; 0 if it is refused."""
    try:
        return parse_quantity(text)
    except ValueError as error:
        if not str(error).startswith("must"):
            raise
        return 0


DEADLINE = 200
"""Milliseconds: a thousand times what the parsers take, and a tenth of what the mildest of these inputs took without
limits."""

POISONED = ["1e3000000", "1e400000", "1e200000", "1e9999999999", "9" * 300_000, "1E-999999999", "1" + "0" * 70]


@pytest.mark.parametrize("written", POISONED, ids=lambda text: text[:16])
@settings(deadline=DEADLINE)
@given(st.integers(0, 3))
def test_a_poisoned_quantity_is_refused_at_once(written: str, spaces: int) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_quantity(" " * spaces + written)


@settings(deadline=DEADLINE)
@given(st.from_regex(r"[-+]?[0-9.eE+-]{1,20}[kKMGTPEmun]?i?", fullmatch=True))
def test_any_text_of_quantity_characters_is_parsed_or_refused_at_once(text: str) -> None:
    assert quantity_or_refusal(text) < 10**31


@settings(deadline=DEADLINE)
@given(st.text())
def test_any_text_at_all_is_parsed_or_refused_at_once(text: str) -> None:
    quantity_or_refusal(text)


@given(st.from_regex(r"(?a:[0-9]{1,9}(\.[0-9]{1,6})?(e[0-9]|k|M|G|T|P|E|m|u|n|Ki|Mi|Gi|Ti|Pi|Ei)?)", fullmatch=True))
def test_a_quantity_is_parsed_as_in_kubernetes(text: str) -> None:
    assert parse_quantity(text) == int(reference(text).to_integral_value(rounding=ROUND_CEILING))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**60), 10**60) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_within_the_limits_is_parsed(value: object) -> None:
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "64 KiB"),
        ("[" * 33 + "]" * 33, "32 levels"),
        ('{"a":' * 1000 + "1" + "}" * 1000, "32 levels"),
        ('"' + "x" * 70_000 + '"', "64 KiB"),
        ("9" * 65, "64 digits"),
        ("9" * 60_000, "64 digits"),
        ("NaN", "has no NaN"),
        ("{", "line 1, column 2"),
    ],
    ids=lambda text: text[:12],
)
def test_json_beyond_a_limit_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_json(text)


def test_brackets_inside_of_strings_are_no_nesting() -> None:
    assert parse_json(json.dumps({"a": "[" * 1000 + '"{' * 100})) == {"a": "[" * 1000 + '"{' * 100}


@settings(deadline=DEADLINE)
@given(st.text(alphabet='[]{}",:0123456789\\eE+-.truefalsn ', max_size=2000))
def test_any_json_like_text_is_parsed_or_refused_at_once(text: str) -> None:
    with suppress(ValueError):
        parse_json(text)
