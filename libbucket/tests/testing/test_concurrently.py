"""Programs are got at the same time, and the first failure is told at once."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from libbucket.testing import progress
from libbucket.testing.concurrently import run_concurrently
from libbucket.testing.problems import SetupFailed

GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.99.0; exit; fi
for module; do :; done
touch "{root}/${{module##*/}}.started"
for _ in 1 2 3 4 5 6 7 8 9; do
    [ -e "{root}/one@v1.started" ] && [ -e "{root}/two@v1.started" ] && break
    sleep 1
done
name=${{module##*/}}
echo "#!/bin/sh" > "$GOBIN/${{name%@*}}"
[ -e "{root}/one@v1.started" ] && [ -e "{root}/two@v1.started" ]
"""
SLOW_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.99.0; exit; fi
touch "{root}/$$.pid"
sleep 60
"""
BOTH = """
from libbucket.testing.binaries import go_binary
from libbucket.testing.concurrently import run_concurrently
run_concurrently(*(lambda n=n: go_binary(name=n, module=f"m.test/{n}", version="v1") for n in ("one", "two")))
"""


def test_tasks_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=10)
    run_concurrently(together.wait, together.wait, together.wait)


def test_the_first_failure_is_raised_while_other_tasks_still_run() -> None:
    def fail() -> None:
        raise SetupFailed("no disk")

    over = threading.Event()
    with pytest.raises(SetupFailed, match="no disk"):
        run_concurrently(lambda: over.wait(30), fail)
    over.set()


def test_builds_of_different_programs_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text(GO.format(root=tmp_path))
    go.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    built = subprocess.run([sys.executable, "-c", BOTH], capture_output=True, text=True, check=False, timeout=60)

    assert built.returncode == 0, built.stderr


def test_an_interruption_ends_all_builds_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text(SLOW_GO.format(root=tmp_path))
    go.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with subprocess.Popen([sys.executable, "-c", BOTH], stderr=subprocess.PIPE, text=True) as builder:
        deadline = time.monotonic() + 10
        while len(list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        builder.send_signal(signal.SIGINT)
        _, said = builder.communicate(timeout=10)

    assert builder.returncode == -signal.SIGINT
    assert "Fatal Python error" not in said
    assert not list((tmp_path / "cache" / "libbucket").glob("building-*"))
    for pid in tmp_path.glob("*.pid"):
        assert not Path(f"/proc/{pid.stem}/cmdline").exists() or not Path(f"/proc/{pid.stem}/cmdline").read_bytes()


def test_waits_at_the_same_time_share_one_display(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, width=100, highlight=False)
    monkeypatch.setattr(progress, "console", terminal)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    monkeypatch.setattr(progress, "_REDRAW_INTERVAL", 0.02)
    shown, first_ended = threading.Event(), threading.Event()

    def both_are_shown() -> str:
        if "building [one]" in output.getvalue() and "building two" in output.getvalue():
            shown.set()
        return ""

    def wait(name: str) -> None:
        with progress.waiting(f"building {name}", detail=both_are_shown):
            assert shown.wait(10)
            # Not in the order of a stack: the one that began the display ends first.
            assert name == "[one]" or first_ended.wait(10)
        first_ended.set()

    run_concurrently(lambda: wait("[one]"), lambda: wait("two"))

    assert "building [one]: done after" in output.getvalue()
    assert "building two: done after" in output.getvalue()
    assert progress._screen._progress is None
