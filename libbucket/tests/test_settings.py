"""Parsers of single settings."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbucket._kube.lease import lease_name
from libbucket._run import settings
from libbucket._run.settings import Address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":8080", "", 8080),
        ("0.0.0.0:8080", "0.0.0.0", 8080),
        ("localhost:0", "localhost", 0),
        ("[::1]:9000", "::1", 9000),
        ("[::]:65535", "::", 65535),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert settings.parse_address(text) == Address(host=host, port=port)


@pytest.mark.parametrize("text", ["8080", "host", "host:", "host:x", "host:65536", "host:-1", "::1:8080", "host:٣"])
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be HOST:PORT"):
        settings.parse_address(text)


@pytest.mark.parametrize("text", [":8080", "0.0.0.0:8080", "[::1]:9000"])
def test_an_address_prints_as_it_was_written(text: str) -> None:
    assert str(settings.parse_address(text)) == text


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("1h30m", 5400), ("90s", 90), ("1.5s", 1.5)])
def test_a_duration_is_spelled_as_in_go(text: str, seconds: float) -> None:
    assert settings.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "1 h", "-30m", "0", "10ms", "1e400s", "9" * 400 + "h"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        settings.parse_duration(text)


@pytest.mark.parametrize("text", ["1", "8", "256"])
def test_workers_are_counted(text: str) -> None:
    assert settings.parse_count(text) == int(text)


@pytest.mark.parametrize("text", ["0", "257", "-1", "1.5", "", "³", "9" * 5000])
def test_an_invalid_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        settings.parse_count(text)


@pytest.mark.parametrize("text", ["aws", "example.com/bucket", "example.com/Bucket_1"])
def test_a_valid_provisioner_name_is_accepted(text: str) -> None:
    assert settings.parse_provisioner_name(text) == text


@pytest.mark.parametrize("text", ["", "a b", "/bucket", "bucket/", "a\n"])
def test_an_invalid_provisioner_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a provisioner name"):
        settings.parse_provisioner_name(text)


PARSERS = [getattr(settings, name) for name in sorted(dir(settings)) if name.startswith("parse_")]


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: str(parser.__name__))
@given(text=st.text())
def test_no_text_makes_a_parser_fail_in_another_way(parser: object, text: str) -> None:
    assert callable(parser)
    with suppress(ValueError):
        parser(text)


@pytest.mark.parametrize(
    ("provisioner", "lease"),
    [
        ("minio.io/bucket", "libbucket-minio.io-bucket"),
        ("Example.COM/my_bucket", "libbucket-example.com-my-bucket"),
        ("a_.b/c", "libbucket-a.b-c"),
    ],
)
def test_the_lease_is_named_as_a_lease_can_be(provisioner: str, lease: str) -> None:
    assert lease_name(provisioner) == lease
