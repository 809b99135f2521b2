from __future__ import annotations

import pytest

from libbucket import parse_quantity


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
