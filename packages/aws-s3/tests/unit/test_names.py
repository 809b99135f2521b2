"""Which names a bucket can have, and which AWS keeps for itself."""

from __future__ import annotations

import pytest

from aws_s3_provisioner.ownership import is_name, is_reserved


@pytest.mark.parametrize("name", ["abc", "a.b-c", "photos-2fb9a467-c62a-4872-8bf3-e04f77f7eda0", "1a2", "a" * 63])
def test_a_name_that_s3_takes(name: str) -> None:
    assert is_name(name)
    assert not is_reserved(name)


@pytest.mark.parametrize(
    "name", ["", "ab", "a" * 64, "Abc", "a_b", "-ab", "ab-", ".ab", "a..b", "10.0.0.1", "a/b", "a\nb"]
)
def test_a_name_that_no_bucket_has(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("name", ["xn--abc", "sthree-abc", "amzn-s3-demo-abc", "abc-s3alias", "abc--x-s3", "abc.mrap"])
def test_a_name_that_aws_keeps_for_itself(name: str) -> None:
    assert is_name(name)
    assert is_reserved(name)
