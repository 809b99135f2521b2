"""The log: text and JSON formats, without secrets."""

from __future__ import annotations

import io
import json
import logging
import warnings
from typing import Any

import pytest
import structlog
import urllib3

from libbucket import SecretStr
from libbucket._run.log_values import MAX_LENGTH, MAX_TRACEBACK
from libbucket._run.logging import logging_to
from libbucket.testing.misbehaving import Answer, scripted_server

SECRET = "hunter2-hunter2"


def logged(log_format: str, *, verbosity: int = 0, **fields: Any) -> str:
    stream = io.StringIO()
    with logging_to(stream, log_format=log_format, verbosity=verbosity):
        structlog.get_logger().info("something happened", **fields)
    return stream.getvalue()


def test_json_is_one_object_per_line_with_time_and_level() -> None:
    line = json.loads(logged("json", claim="a/b"))
    assert line["event"] == "something happened"
    assert (line["level"], line["claim"]) == ("info", "a/b")
    assert line["timestamp"].endswith("Z")


def test_text_has_no_colours_without_a_terminal() -> None:
    line = logged("text", claim="a/b")
    assert "something happened" in line
    assert "claim=a/b" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_context_is_on_every_line(log_format: str) -> None:
    with structlog.contextvars.bound_contextvars(reconcile="r-1"):
        assert "r-1" in logged(log_format)


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    "value",
    [
        SecretStr(SECRET),
        {"keys": [SecretStr(SECRET)]},
        [{"deep": (SecretStr(SECRET),)}],
        {SecretStr(SECRET): 1},
        {"set": frozenset({SecretStr(SECRET)})},
    ],
    ids=["itself", "in a dict", "deep", "as a key", "in a set"],
)
def test_a_secret_is_never_printed(log_format: str, value: object) -> None:
    line = logged(log_format, found=value)
    assert SECRET not in line
    assert "*****" in line


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError(SECRET)


def endless() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["again"] = found
    return found


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


ODD_VALUES = {
    "without end": endless(),
    "deeper than the stack": nested(100_000),
    "keys that are no strings": {(1, 2): 1, 3: {None: frozenset({4})}, b"x": 2.5},
    "half a surrogate pair": {"\ud800": ["\udfff"]},
    "without a representation": [Unprintable()],
    "too many digits to be written": 10**100_000,
    "not a number": [float("nan"), float("inf")],
    "bytes": b"\x1b[31m\n",
    "an exception": ValueError("x\ny"),
}


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("what", ODD_VALUES)
def test_no_value_stops_the_log(log_format: str, what: str) -> None:
    (line,) = logged(log_format, found=ODD_VALUES[what], claim="a/b").splitlines()
    assert "something happened" in line
    assert "a/b" in line
    assert SECRET not in line
    if log_format == "json":
        json.loads(line, parse_constant=pytest.fail)


LONG_VALUES = {
    "text": "x" * 1_000_000,
    "keys": {f"key-{number}": number for number in range(100_000)},
    "items": [["x" * 1000] * 1000] * 1000,
    "a dict in each item of a dict": {f"k{number}": {f"k{one}": "x" for one in range(100)} for number in range(1000)},
    "control characters": "\x1b" * 1_000_000,
}


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("what", LONG_VALUES)
def test_a_value_has_a_bounded_length(log_format: str, what: str) -> None:
    line = logged(log_format, found=LONG_VALUES[what], claim="a/b")
    assert MAX_LENGTH < len(line) < 8 * MAX_LENGTH, "escapes are longer than what they stand for"
    assert "a/b" in line, "another value is not cut for it"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_truncated_characters_are_counted(log_format: str) -> None:
    line = logged(log_format, found="x" * (MAX_LENGTH + 1_234), whole="y" * MAX_LENGTH)
    assert "(+1,234 characters)" in line
    assert "y" * MAX_LENGTH in line
    assert line.count("characters)") == 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_message_has_a_bounded_length(log_format: str) -> None:
    stream = io.StringIO()
    with logging_to(stream, log_format=log_format, verbosity=0):
        structlog.get_logger().warning("x" * 1_000_000)
        logging.getLogger("library").warning("x" * 1_000_000)
    assert len(stream.getvalue()) < 4 * MAX_LENGTH


def fail_with_a_local_variable() -> None:
    password = "-".join(["open", "sesame"])
    raise RuntimeError(str(len(password)))


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_shows_no_local_variables(log_format: str) -> None:
    stream = io.StringIO()
    with logging_to(stream, log_format=log_format, verbosity=0):
        try:
            fail_with_a_local_variable()
        except RuntimeError:
            structlog.get_logger().exception("failed")
    assert "RuntimeError" in stream.getvalue()
    assert "open-sesame" not in stream.getvalue()


def fail_with(message: str) -> None:
    raise ValueError(message)


FORGED = "2026-01-01T00:00:00Z [info     ] all is well"


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("broken", ["\n", "\r", "\x85", "\u2028"], ids=ascii)
def test_a_traceback_forges_no_line(log_format: str, broken: str) -> None:
    stream = io.StringIO()
    with logging_to(stream, log_format=log_format, verbosity=0):
        try:
            fail_with(f"photos{broken}{FORGED}")
        except ValueError:
            structlog.get_logger().exception("failed")
            logging.getLogger("library").exception("failed, too")
    lines = stream.getvalue().splitlines()
    assert "all is well" in stream.getvalue()
    assert [line for line in lines if not line.startswith("    ")] == [line for line in lines if "failed" in line]
    assert len([line for line in lines if "failed" in line]) == 2


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_has_a_bounded_length(log_format: str) -> None:
    stream = io.StringIO()
    with logging_to(stream, log_format=log_format, verbosity=0):
        try:
            fail_with("x" * 1_000_000)
        except ValueError:
            structlog.get_logger().exception("failed")
    assert MAX_LENGTH < len(stream.getvalue()) < 2 * MAX_TRACEBACK
    assert "ValueError" in stream.getvalue()


@pytest.mark.parametrize(("verbosity", "is_shown"), [(0, False), (3, False), (4, True), (9, True)])
def test_the_reasons_are_shown_from_verbosity_4_on(verbosity: int, is_shown: bool) -> None:
    stream = io.StringIO()
    with logging_to(stream, log_format="text", verbosity=verbosity):
        structlog.get_logger().debug("because")
    assert ("because" in stream.getvalue()) is is_shown


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_logs_of_libraries_have_the_same_format_from_warning_on(log_format: str) -> None:
    stream = io.StringIO()
    with logging_to(stream, log_format=log_format, verbosity=9):
        logging.getLogger("kubernetes.client").info("chatter")
        logging.getLogger("kubernetes.client").warning("careful with %s", SecretStr(SECRET))
    (line,) = stream.getvalue().splitlines()
    assert "careful with **********" in line
    assert "kubernetes.client" in line
    if log_format == "json":
        assert json.loads(line)["level"] == "warning"


def test_retries_of_connections_are_logged_at_debug_only() -> None:
    stream = io.StringIO()
    for verbosity in (0, 4):
        with logging_to(stream, log_format="text", verbosity=verbosity):
            logging.getLogger("urllib3.connectionpool").warning("retrying at %d", verbosity)
    assert "retrying at 0" not in stream.getvalue()
    assert "retrying at 4" in stream.getvalue()


@pytest.mark.parametrize("verbosity", [0, 9])
def test_libraries_at_debug_tell_neither_a_query_nor_an_answer(
    verbosity: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library may set the level of its own logger; a shared access signature is in the query of each request."""
    for name in ("urllib3", "botocore", "google.auth", "azure.core", "http.client"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    logging.getLogger().manager._clear_cache()  # type: ignore[attr-defined] # levels were set behind its back
    stream = io.StringIO()
    answer = Answer(headers={"Set-Cookie\r\nno separator": SECRET}, body=SECRET.encode())
    with logging_to(stream, log_format="text", verbosity=verbosity):
        with scripted_server(answer) as server, urllib3.PoolManager(timeout=10) as pool:
            pool.request("GET", f"{server.url}/bucket?sig={SECRET}")
        for name in ("urllib3.connectionpool", "botocore.parsers", "google.auth.transport", "azure.core.pipeline"):
            logging.getLogger(name).debug("answer: %s", SECRET)
            logging.getLogger(name).info("request: %s", SECRET)
            logging.getLogger(name).warning("Retrying: /bucket?sv=1&sig=%s for %s", SECRET, "photos")
    written = stream.getvalue()
    assert SECRET not in written + "".join(capsys.readouterr())
    assert "/bucket?... for photos" in written, "the line itself stays"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_tells_no_query_of_a_url(log_format: str) -> None:
    stream, error = io.StringIO(), OSError(f"no answer from /bucket?sv=1&sig={SECRET} (is it up?)")
    with logging_to(stream, log_format=log_format, verbosity=0):
        structlog.get_logger().error("failed", exc_info=error)
        logging.getLogger("library").error("failed, too", exc_info=error)
    assert SECRET not in stream.getvalue()
    assert stream.getvalue().count("/bucket?... (is it up?)") == 2


def test_warnings_of_python_become_lines_of_the_log() -> None:
    stream = io.StringIO()
    with warnings.catch_warnings(), logging_to(stream, log_format="json", verbosity=0):
        warnings.simplefilter("always")
        warnings.warn("old spelling", DeprecationWarning, stacklevel=1)
    assert "old spelling" in json.loads(stream.getvalue())["event"]


def test_logging_configuration_is_restored() -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers), structlog.is_configured()
    with logging_to(io.StringIO(), log_format="json", verbosity=0):
        assert structlog.is_configured()
    assert (root.level, list(root.handlers), structlog.is_configured()) == before


BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "\x1b[31m", "\u202e", "\x00", "\ud800"]


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("broken", BREAKS, ids=ascii)
def test_tenants_cannot_forge_log_lines(log_format: str, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest captures what is logged, and its workers can't send each other half a surrogate pair.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    forged = f"photos{broken}2026-01-01 [info] all is well"
    stream = io.StringIO()
    with logging_to(stream, log_format=log_format, verbosity=0):
        structlog.get_logger().warning(f"spec.{forged} is ignored", key=forged, deep=[forged], why={forged: forged})
        logging.getLogger("library").warning("of a library: %s", forged)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() and "all is well" in line for line in lines)


def test_printable_characters_are_not_escaped() -> None:
    assert "bücket='x' café" in logged("text", name="bücket='x' café")


def test_a_value_or_a_message_in_text_forges_no_field() -> None:
    forged = "x namespace=kube-system"
    line = logged("text", found=forged)
    assert f"found='{forged}'" in line
    stream = io.StringIO()
    with logging_to(stream, log_format="text", verbosity=0):
        structlog.get_logger().info(f"spec.additionalConfig.{forged} is ignored", namespace="shop")
        structlog.get_logger().info("spec.additionalConfig.x is ignored", namespace="shop")
    first, second = stream.getvalue().splitlines()
    assert f"'spec.additionalConfig.{forged} is ignored'" in first
    assert "] spec.additionalConfig.x is ignored" in second, "a message that can't be taken for fields is as it was"


# Streams that can't be written to -------------------------------------------------------------------------------------


class Broken(io.StringIO):
    """A stream that raises given errors first."""

    error: Exception | None = None

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)

    def flush(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device"), ValueError("I/O on closed file")],
)
def test_a_line_that_cannot_be_written_is_lost_and_the_next_is_not(log_format: str, error: Exception) -> None:
    stream = Broken()
    with logging_to(stream, log_format=log_format, verbosity=0):
        stream.error = error
        structlog.get_logger().info("lost")
        logging.getLogger("library").warning("lost, too")
        stream.error = None
        structlog.get_logger().info("written")
        logging.getLogger("library").warning("written, too")
    assert len(stream.getvalue().splitlines()) == 2
    assert "lost" not in stream.getvalue()


def test_a_stream_that_knows_only_ascii_gets_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    with logging_to(stream, log_format="text", verbosity=0):
        structlog.get_logger().info("bücket")
    assert b"b\\xfccket" in raw.getvalue()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_line_of_a_library_that_cannot_be_formatted_shows_no_arguments(
    log_format: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # without pytest's own, which raises
    stream = io.StringIO()
    with logging_to(stream, log_format=log_format, verbosity=0):
        logging.getLogger("library").warning("%d buckets", SECRET)
    assert "could not be formatted" in stream.getvalue()
    assert "library" in stream.getvalue()
    assert SECRET not in stream.getvalue() + capsys.readouterr().err
