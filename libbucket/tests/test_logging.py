"""The log: readable for people, parsable for machines, and never with a secret in it."""

from __future__ import annotations

import io
import json
import logging
import warnings
from typing import Any

import pytest
import structlog

from libbucket import SecretStr
from libbucket._run.logging import hide_secrets, logging_to

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


def test_text_is_without_colours_where_there_is_no_terminal() -> None:
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


def test_a_structure_without_end_does_not_stop_the_log() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    hidden = hide_secrets(None, "info", {"event": "x", "found": endless})
    assert hidden["event"] == "x"


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


@pytest.mark.parametrize(("verbosity", "is_shown"), [(0, False), (3, False), (4, True), (9, True)])
def test_the_reasons_are_shown_from_verbosity_4_on(verbosity: int, is_shown: bool) -> None:
    stream = io.StringIO()
    with logging_to(stream, log_format="text", verbosity=verbosity):
        structlog.get_logger().debug("because")
    assert ("because" in stream.getvalue()) is is_shown


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_libraries_speak_in_the_same_form_from_warning_on(log_format: str) -> None:
    stream = io.StringIO()
    with logging_to(stream, log_format=log_format, verbosity=9):
        logging.getLogger("kubernetes.client").info("chatter")
        logging.getLogger("kubernetes.client").warning("careful with %s", SecretStr(SECRET))
    (line,) = stream.getvalue().splitlines()
    assert "careful with **********" in line
    assert "kubernetes.client" in line
    if log_format == "json":
        assert json.loads(line)["level"] == "warning"


def test_the_retries_of_a_connection_are_shown_only_to_who_looks_for_a_bug() -> None:
    stream = io.StringIO()
    for verbosity in (0, 4):
        with logging_to(stream, log_format="text", verbosity=verbosity):
            logging.getLogger("urllib3.connectionpool").warning("retrying at %d", verbosity)
    assert "retrying at 0" not in stream.getvalue()
    assert "retrying at 4" in stream.getvalue()


def test_warnings_of_python_become_lines_of_the_log() -> None:
    stream = io.StringIO()
    with warnings.catch_warnings(), logging_to(stream, log_format="json", verbosity=0):
        warnings.simplefilter("always")
        warnings.warn("old spelling", DeprecationWarning, stacklevel=1)
    assert "old spelling" in json.loads(stream.getvalue())["event"]


def test_what_was_set_is_put_back() -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers), structlog.is_configured()
    with logging_to(io.StringIO(), log_format="json", verbosity=0):
        assert structlog.is_configured()
    assert (root.level, list(root.handlers), structlog.is_configured()) == before


BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "\x1b[31m", "\u202e", "\x00", "\ud800"]


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("broken", BREAKS, ids=ascii)
def test_a_line_stays_one_line_whatever_a_tenant_writes(log_format: str, broken: str) -> None:
    forged = f"photos{broken}2026-01-01 [info] all is well"
    stream = io.StringIO()
    with logging_to(stream, log_format=log_format, verbosity=0):
        structlog.get_logger().warning(f"spec.{forged} is ignored", key=forged, deep=[forged], why={forged: forged})
        logging.getLogger("library").warning("of a library: %s", forged)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() and "all is well" in line for line in lines)


def test_what_can_be_printed_is_printed_as_it_is() -> None:
    assert "bücket='x' café" in logged("text", name="bücket='x' café")
