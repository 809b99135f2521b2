"""No program and no directory outlives the one who started it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from libbucket.testing.problems import SetupFailed
from libbucket.testing.processes import Program, RunningProcess, free_ports, fresh_directory, running, start

STUBBORN = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
OBEDIENT = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print('up', flush=True)
signal.pause()
"""
PARENT = """
import sys, time
from libbucket.testing.processes import Program, fresh_directory, start
with fresh_directory() as directory:
    process = start(Program(name="child", command=["sleep", "60"], directory=directory))
    print(process.pid, directory, flush=True)
    time.sleep(60)
"""


def a_program(directory: Path, code: str = "import time; time.sleep(60)") -> Program:
    return Program(name="child", command=[sys.executable, "-c", code], directory=directory)


def is_alive(pid: int) -> bool:
    # A process that has ended but was not waited for (in a container nobody may do it) counts as gone.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def has_printed(process: RunningProcess, text: str) -> bool:
    return text in process.log()


def test_a_program_that_ignores_sigterm_is_killed_after_the_bound(tmp_path: Path) -> None:
    process = start(a_program(tmp_path, STUBBORN))
    process.wait_ready(lambda: has_printed(process, "up"), timeout=10)

    assert process.stop(timeout=0.2) == -signal.SIGKILL


def test_a_program_that_obeys_sigterm_ends_with_its_own_exit_code(tmp_path: Path) -> None:
    process = start(a_program(tmp_path, OBEDIENT))
    process.wait_ready(lambda: has_printed(process, "up"), timeout=10)

    assert process.stop() == 3


def test_what_a_program_started_itself_is_stopped_with_it(tmp_path: Path) -> None:
    code = "import subprocess,time; print(subprocess.Popen(['sleep','60']).pid, flush=True); time.sleep(60)"
    process = start(a_program(tmp_path, code))
    process.wait_ready(lambda: has_printed(process, "\n"), timeout=10)
    grandchild = int(process.log())

    process.kill()

    deadline = time.monotonic() + 5
    while is_alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(grandchild)


def test_a_program_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    process = start(a_program(tmp_path, "print('no licence'); raise SystemExit(4)"))

    with pytest.raises(SetupFailed, match=r"child ended with exit code 4(.|\n)*no licence"):
        process.wait_ready(lambda: False, timeout=10)
    process.kill()


def test_a_program_that_is_never_ready_is_reported_after_the_bound_and_stopped(tmp_path: Path) -> None:
    program = a_program(tmp_path, "import os,time; print(os.getpid(), flush=True); time.sleep(60)")

    with (
        pytest.raises(SetupFailed, match="child was not ready after 1 s"),
        running(program, ready=lambda: False, timeout=1),
    ):
        pass

    assert not is_alive(int(program.log_path.read_text()))


def test_a_program_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match=r"child can't be started: .*No such file"):
        start(Program(name="child", command=["/no/such/program"], directory=tmp_path))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_parent_that_is_ended_by_any_signal_leaves_no_program_and_no_directory(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        assert is_alive(int(pid))
        assert Path(directory).is_dir()
        parent.send_signal(number)

    deadline = time.monotonic() + 10
    while (is_alive(int(pid)) or Path(directory).exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(int(pid))
    assert not Path(directory).exists()


def test_a_fresh_directory_is_gone_after_a_failure() -> None:
    seen: list[Path] = []

    def fail() -> None:
        with fresh_directory() as directory:
            seen.append(directory)
            (directory / "file").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not seen[0].exists()


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20
