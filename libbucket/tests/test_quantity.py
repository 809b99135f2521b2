from __future__ import annotations

from dataclasses import replace

import pytest

from libbucket import InvalidConfig, parse_quantity, read_quantities
from libbucket.testing import builders


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("0", 0),
        ("1000", 1000),
        ("1k", 1000),
        ("1Ki", 1024),
        ("10Gi", 10 * 1024**3),
        ("1.5Mi", 1572864),
        ("1e3", 1000),
        ("1E3", 1000),
        (" 7 ", 7),
        ("2T", 2 * 10**12),
        ("1Ei", 1024**6),
    ],
)
def test_a_quantity_is_read_as_kubernetes_reads_it(written: str, number: int) -> None:
    assert parse_quantity(written) == number


@pytest.mark.parametrize(("written", "number"), [("0.5", 1), ("100m", 1), ("1001m", 2)])
def test_a_part_of_one_is_rounded_up(written: str, number: int) -> None:
    assert parse_quantity(written) == number


@pytest.mark.parametrize("written", ["", " ", "many", "10GB", "-1", "-1Gi", "NaN", "Infinity", "1Gi;", "{}"])
def test_an_invalid_quantity_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_quantity(written)


def test_quantities_are_set_reset_or_unmanaged() -> None:
    options = builders.options(config={"maxSize": "1k", "other": "x"})
    before = replace(options, previous_config={"maxSize": "2k", "maxObjects": "5"})

    assert read_quantities(options, ("maxSize", "maxObjects")) == {"maxSize": 1000}
    assert read_quantities(before, ("maxSize", "maxObjects")) == {"maxSize": 1000, "maxObjects": None}


def test_a_value_that_is_no_quantity_is_refused_by_its_key() -> None:
    with pytest.raises(InvalidConfig, match=r"additionalConfig\.maxSize must be a quantity"):
        read_quantities(builders.options(config={"maxSize": "much"}), ("maxSize",))
