"""Every long wait says what it is for; a short one says nothing."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import pytest

from libbucket.testing import progress

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    monkeypatch.setattr(progress, "_PATIENCE", 0.05)
    monkeypatch.setattr(progress, "_PLAIN_INTERVAL", 0.05)
    output, before = io.StringIO(), progress.console.file
    progress.console.file = output
    yield output
    progress.console.file = before


def test_a_short_wait_is_silent(printed: io.StringIO) -> None:
    with progress.waiting("waiting for a bus"):
        pass
    assert printed.getvalue() == ""


def test_a_long_wait_says_what_for_what_happens_and_how_long_it_took(printed: io.StringIO) -> None:
    with progress.waiting("waiting for a bus", detail=lambda: "it is in the next street"):
        time.sleep(0.3)
    lines = printed.getvalue().splitlines()
    assert lines[0] == "waiting for a bus ..."
    assert "waiting for a bus ... 0 s it is in the next street" in lines
    assert lines[-1] == "waiting for a bus: done after 0 s"


def test_a_wait_that_fails_is_not_called_done(printed: io.StringIO) -> None:
    def fail() -> None:
        with progress.waiting("waiting for a bus"):
            time.sleep(0.1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "waiting for a bus ..." in printed.getvalue()
    assert "done" not in printed.getvalue()
