"""Selection of the keys of a claim's additionalConfig, and warnings about the others."""

from __future__ import annotations

from typing import Any

import pytest

from libbucket._reconcile.model.additional_config import SelectedConfig, select_config

QUOTA = frozenset({"maxObjects", "maxSize"})
POLICY = frozenset({"bucketPolicy"})


def select(raw: Any, allowed: frozenset[str] = QUOTA, supported: frozenset[str] = QUOTA) -> SelectedConfig:
    return select_config(raw, allowed=allowed, supported=supported)


def test_keys_that_the_operator_allows_and_the_store_supports_are_applied() -> None:
    assert select({"maxObjects": "10", "maxSize": "1Gi"}) == SelectedConfig(
        applied={"maxObjects": "10", "maxSize": "1Gi"}, warnings=()
    )


@pytest.mark.parametrize("raw", [None, {}, [], "maxObjects", 5])
def test_without_keys_nothing_is_applied(raw: Any) -> None:
    assert select(raw) == SelectedConfig(applied={}, warnings=())


@pytest.mark.parametrize(
    ("written", "applied"), [(1000, "1000"), (1.5, "1.5"), (True, "true"), ("", ""), ("1e3", "1e3")]
)
def test_a_value_that_is_no_string_is_read_as_its_json_text(written: Any, applied: str) -> None:
    assert select({"maxObjects": written}).applied == {"maxObjects": applied}


@pytest.mark.parametrize("raw", [{"maxObjects": None}, {"": "x"}, {"": None}])
def test_null_values_and_the_empty_key_are_absent_without_a_word(raw: Any) -> None:
    assert select(raw) == SelectedConfig(applied={}, warnings=())


@pytest.mark.parametrize(
    ("raw", "warning"),
    [
        (
            {"bucketPolicy": "{}"},
            "spec.additionalConfig.bucketPolicy is ignored: the operator does not allow it (--allow-additional-config)",
        ),
        ({"bucketOwner": "me"}, "spec.additionalConfig.bucketOwner is ignored: the store does not support it"),
        ({"maxObject": "1"}, "spec.additionalConfig.maxObject is ignored: the key is unknown"),
        ({"maxSize": {"bytes": 1}}, "spec.additionalConfig.maxSize is ignored: its value is not a string"),
        ({"maxSize": [1]}, "spec.additionalConfig.maxSize is ignored: its value is not a string"),
    ],
)
def test_each_ignored_key_has_one_warning(raw: Any, warning: str) -> None:
    assert select(raw, supported=QUOTA | POLICY) == SelectedConfig(applied={}, warnings=(warning,))


def test_a_key_that_is_allowed_and_that_the_store_cannot_do_is_not_applied() -> None:
    selected = select({"bucketPolicy": "{}", "maxSize": "1Gi"}, allowed=QUOTA | POLICY)

    assert selected.applied == {"maxSize": "1Gi"}
    assert "the store does not support it" in selected.warnings[0]


def test_every_key_gets_its_own_warning_in_a_fixed_order() -> None:
    first = select({"zebra": "1", "ape": "2", "cat": []})
    second = select({"cat": [], "ape": "2", "zebra": "1"})

    assert len(first.warnings) == 3
    assert first.warnings == second.warnings


def test_the_operator_can_allow_no_keys() -> None:
    assert select({"maxSize": "1Gi"}, allowed=frozenset()).applied == {}


def test_of_a_thousand_unknown_keys_a_few_are_named_and_all_are_counted() -> None:
    warnings = select({f"key-{number:04}": "x" for number in range(1000)}).warnings
    assert len(warnings) == 11
    assert warnings[0] == "spec.additionalConfig.key-0000 is ignored: the key is unknown"
    assert warnings[-1] == "spec.additionalConfig has 990 more keys that are ignored"


def test_a_key_as_long_as_a_book_is_named_by_its_beginning() -> None:
    (warning,) = select({"k" * 100_000: "x"}).warnings
    assert warning == f"spec.additionalConfig.{'k' * 63}... is ignored: the key is unknown"
