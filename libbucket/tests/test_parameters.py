from __future__ import annotations

import pytest

from libbucket import Address, InvalidParameters, ParameterReader


def finish_mistakes(reader: ParameterReader) -> tuple[str, ...]:
    with pytest.raises(InvalidParameters) as raised:
        reader.finish()
    return raised.value.mistakes


def test_text_is_taken_without_white_space() -> None:
    assert ParameterReader({"region": "  eu-west-1\n"}).text("region") == "eu-west-1"


@pytest.mark.parametrize("parameters", [{}, {"region": ""}, {"region": "  "}], ids=str)
def test_absent_and_empty_text_is_the_default(parameters: dict[str, str]) -> None:
    reader = ParameterReader(parameters)
    assert reader.text("region", default="here") == "here"
    reader.finish()


@pytest.mark.parametrize("parameters", [{}, {"region": " "}], ids=str)
def test_required_text_that_is_missing_is_a_mistake(parameters: dict[str, str]) -> None:
    reader = ParameterReader(parameters)
    reader.text("region", required=True)
    assert finish_mistakes(reader) == ("region is required",)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("Yes", True),
        ("1", True),
        ("on", True),
        ("false", False),
        ("NO", False),
        ("0", False),
        ("off", False),
    ],
)
def test_a_flag_is_taken_in_every_spelling(written: str, meant: bool) -> None:
    reader = ParameterReader({"secure": written})
    assert reader.flag("secure", default=not meant) is meant
    reader.finish()


@pytest.mark.parametrize("default", [True, False])
def test_an_absent_flag_is_the_default(default: bool) -> None:
    assert ParameterReader({}).flag("secure", default=default) is default


def test_a_flag_that_is_neither_is_a_mistake_that_shows_it() -> None:
    reader = ParameterReader({"secure": "perhaps"})
    reader.flag("secure", default=True)
    assert finish_mistakes(reader) == ("secure must be true or false, not 'perhaps'",)


def test_a_choice_is_one_of_the_list_spelled_exactly() -> None:
    choices = frozenset({"hmac", "both"})
    assert ParameterReader({"credentials": "both"}).choice("credentials", choices, default="hmac") == "both"
    reader = ParameterReader({"credentials": "Both"})
    reader.choice("credentials", choices, default="hmac")
    assert finish_mistakes(reader) == ("credentials must be one of both, hmac, not 'Both'",)


@pytest.mark.parametrize(("written", "read"), [("0", 0), ("42", 42), (" 7 ", 7), ("", 5)])
def test_a_number_is_read(written: str, read: int) -> None:
    reader = ParameterReader({"days": written})
    assert reader.number("days", default=5) == read
    reader.finish()


@pytest.mark.parametrize("written", ["-1", "1.5", "many", "²", "0x10", "1e3"])
def test_a_value_that_is_not_an_integer_is_a_mistake(written: str) -> None:
    reader = ParameterReader({"days": written})
    assert reader.number("days", default=5) == 5
    assert finish_mistakes(reader) == (f"days must be a whole number of at least 0, not {written!r}",)


def test_a_number_below_the_minimum_is_a_mistake() -> None:
    reader = ParameterReader({"days": "2"})
    reader.number("days", default=5, minimum=3)
    assert finish_mistakes(reader) == ("days must be a whole number of at least 3, not '2'",)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://store.example", "https://store.example"),
        ("http://store:9000/", "http://store:9000"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("", ""),
    ],
)
def test_an_endpoint_is_a_bare_url(written: str, read: str) -> None:
    reader = ParameterReader({"endpoint": written})
    assert reader.url("endpoint") == read
    reader.finish()


@pytest.mark.parametrize(
    "written",
    [
        "store.example",
        "store.example:9000",
        "ftp://store.example",
        "https://",
        "https://user:password@store.example",
        "https://store.example/path",
        "https://store.example?query",
        "https://store.example:0",
        "https://store.example:99999",
        "https://[::1",
    ],
)
def test_a_value_that_is_not_a_bare_url_is_a_mistake(written: str) -> None:
    reader = ParameterReader({"endpoint": written})
    assert reader.url("endpoint") == ""
    (mistake,) = finish_mistakes(reader)
    assert mistake.startswith("endpoint must look like https://host")


def test_an_endpoint_that_is_required_and_missing_is_one_mistake() -> None:
    reader = ParameterReader({})
    reader.url("endpoint", required=True)
    assert finish_mistakes(reader) == ("endpoint is required",)


def test_all_mistakes_are_reported_at_once_and_in_order() -> None:
    reader = ParameterReader({"secure": "perhaps", "days": "many"})
    reader.text("region", required=True)
    reader.flag("secure", default=True)
    reader.number("days", default=1)
    reader.mistake("secretName", "needs secretNamespace")
    assert [mistake.split()[0] for mistake in finish_mistakes(reader)] == ["region", "secure", "days", "secretName"]


def test_parameters_that_were_not_read_are_unknown_except_those_of_the_core() -> None:
    reader = ParameterReader({"regoin": "x", "region": "y", "bucketName": "z", "another": ""})
    reader.text("region")
    assert [text.split("'")[1] for text in reader.unknown()] == ["another", "regoin"]


@pytest.mark.parametrize(
    ("url", "host", "port", "again"),
    [
        ("https://s3.example.com", "s3.example.com", 443, "https://s3.example.com"),
        ("http://127.0.0.1:9000", "127.0.0.1", 9000, "http://127.0.0.1:9000"),
        ("http://[::1]:80", "::1", 80, "http://[::1]"),
    ],
)
def test_an_address_is_taken_apart(url: str, host: str, port: int, again: str) -> None:
    address = Address.from_url(url)
    assert (address.host, address.port, address.url) == (host, port, again)


@pytest.mark.parametrize("required", [True, False])
def test_the_administrators_secret_is_named_by_both(required: bool) -> None:
    reader = ParameterReader({"secretName": "admin", "secretNamespace": "store"})
    assert reader.secret(required=required) == ("admin", "store")
    reader.finish()


@pytest.mark.parametrize(("given", "lacking"), [("secretName", "secretNamespace"), ("secretNamespace", "secretName")])
@pytest.mark.parametrize("required", [True, False])
def test_half_the_name_of_a_secret_is_a_mistake(given: str, lacking: str, required: bool) -> None:
    reader = ParameterReader({given: "x"})
    reader.secret(required=required)
    (mistake,) = finish_mistakes(reader)
    assert mistake.startswith(f"{lacking} is required")


def test_no_secret_is_a_mistake_only_where_one_is_required() -> None:
    optional, required = ParameterReader({}), ParameterReader({})
    assert optional.secret() == ("", "")
    optional.finish()
    required.secret(required=True)
    assert len(finish_mistakes(required)) == 2


@pytest.mark.parametrize("value", ["9" * 5000, "x" * 300_000, "1" * 19])
def test_mistakes_about_long_values_are_short(value: str) -> None:
    reader = ParameterReader({"limit": value, "secure": value, "kind": value, "endpoint": value})
    assert reader.number("limit", default=7) == 7
    reader.flag("secure", default=True)
    reader.choice("kind", frozenset({"a"}), default="a")
    reader.url("endpoint")
    with pytest.raises(InvalidParameters) as found:
        reader.finish()
    assert len(found.value.message) < 1000


def test_of_many_unknown_parameters_a_few_are_named() -> None:
    reader = ParameterReader({f"unknown-{number:03}": "x" for number in range(500)})
    warnings = reader.unknown()
    assert len(warnings) == 11
    assert "490 more" in warnings[-1]
