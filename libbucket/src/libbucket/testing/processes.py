"""Starts programs so that none is left behind: own process group, log in a file, bounded readiness and end.

Every program and every fresh directory is told to a guard (`_guard`), which cleans up if this process dies
without doing so itself. Used by everything here that runs a server. Knows no server.
"""

from __future__ import annotations

import atexit
import functools
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import urllib3

from libbucket.testing import _guard
from libbucket.testing.problems import SetupFailed
from libbucket.testing.progress import waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = [
    "HOST",
    "Program",
    "RunningProcess",
    "free_ports",
    "fresh_directory",
    "http_ready",
    "running",
    "start",
    "waiting",
]

HOST: Final = "127.0.0.1"
_POLL: Final = 0.05
_LOG_LINES: Final = 15
_PORTS: Final = (20000, 12000)  # first and how many: below what systems hand out for outgoing connections


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to start.

    Attributes:
        name: for messages and the log's file name.
        command: program and arguments.
        directory: existing; the log goes there.
        environment: added to this process's environment.
    """

    name: str
    command: Sequence[str | Path]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def log_path(self) -> Path:
        """Where the program's output goes."""
        return self.directory / f"{self.name}.log"


class _Guard:
    """This process's end of the line to `_guard`."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", _guard.__file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True, cwd="/")
        self._lock = threading.Lock()  # a line is written as a whole, by any thread

    def tell(self, verb: str, value: object) -> None:
        # A guard that was killed is no reason to fail: it only matters if this process dies too.
        with self._lock, suppress(OSError, ValueError):
            self._pipe.write(f"{verb} {value}\n")
            self._pipe.flush()

    def close(self) -> None:
        with suppress(OSError):
            self._pipe.close()
        self._process.wait()

    @property
    def _pipe(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin


_ONE_GUARD: Final = threading.Lock()


def _the_guard() -> _Guard:
    with _ONE_GUARD:  # `functools.cache` alone lets two threads at once make one each
        return _make_guard()


@functools.cache
def _make_guard() -> _Guard:
    guard = _Guard()
    atexit.register(guard.close)
    return guard


class RunningProcess:
    """A program that `start` started. Stop it, or use `running`, which does."""

    def __init__(self, program: Program, popen: subprocess.Popen[bytes]) -> None:
        self.program = program
        self._popen = popen

    @property
    def pid(self) -> int:
        """The process id, which is also that of its group."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative if a signal ended it."""
        return self._popen.poll()

    def log(self) -> str:
        """All that it has printed so far."""
        return self.program.log_path.read_text(errors="replace")

    def wait_ready(self, probe: Callable[[], bool], *, timeout: float = 60.0) -> None:
        """Waits until `probe` returns True.

        Raises:
            SetupFailed: it ended, or the time is over; with the last lines of its log.
        """
        deadline = time.monotonic() + timeout
        while not probe():
            if self.exit_code is not None:
                raise SetupFailed(self._with_log(f"{self.program.name} ended with exit code {self.exit_code}"))
            if time.monotonic() > deadline:
                raise SetupFailed(self._with_log(f"{self.program.name} was not ready after {timeout:.0f} s"))
            time.sleep(_POLL)

    def wait(self, timeout: float) -> int:
        """Waits for the program to end and gives its exit code.

        Raises:
            TimeoutError: it still runs.
        """
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.program.name} still runs after {timeout:.0f} s") from None

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal to the program alone (not to what it started), if it still runs."""
        self._popen.send_signal(number)

    def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM, then SIGKILL if that was not enough, to the whole group.

        Returns:
            The exit code: -9 if it had to be killed.
        """
        try:
            self._signal_group(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout)
        finally:
            self.kill()
        return self._popen.returncode

    def kill(self) -> None:
        """SIGKILL to the whole group, and waits for the end."""
        self._signal_group(signal.SIGKILL)
        self._popen.wait()
        _the_guard().tell("-group", self.pid)

    def _signal_group(self, number: signal.Signals) -> None:
        # PermissionError: the error of macOS for a group in which all are dead and not yet waited for.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _with_log(self, sentence: str) -> str:
        lines = self.log().splitlines()[-_LOG_LINES:]
        return "\n".join([f"{sentence}; its last lines:", *(f"    {line}" for line in lines)])


def start(program: Program) -> RunningProcess:
    """Starts a program in its own process group, with its output in its log file.

    Raises:
        SetupFailed: it can't be started.
    """
    guard = _the_guard()
    environment = {**os.environ, **program.environment}
    with program.log_path.open("ab") as log:
        try:
            popen = subprocess.Popen(
                [str(part) for part in program.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=program.directory,
                env=environment,
                process_group=0,  # a Ctrl-C is for us; we end our programs in order
            )
        except OSError as error:
            raise SetupFailed(f"{program.name} can't be started: {error}") from error
    guard.tell("+group", popen.pid)
    return RunningProcess(program, popen)


@contextmanager
def running(program: Program, *, ready: Callable[[], bool], timeout: float = 60.0) -> Iterator[RunningProcess]:
    """Starts a program, waits until it is ready, stops it at the end.

    Raises:
        SetupFailed: it can't be started, ended early or was not ready in time.
    """
    process = start(program)
    try:
        with waiting(f"waiting for {program.name}"):
            process.wait_ready(ready, timeout=timeout)
        yield process
    finally:
        process.stop()


@contextmanager
def fresh_directory(prefix: str = "libbucket-", *, parent: Path | None = None) -> Iterator[Path]:
    """A new temporary directory, removed at the end, also when this process is killed."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).resolve()
    _the_guard().tell("+directory", path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        _the_guard().tell("-directory", path)


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nothing listens on, and that no outgoing connection is given."""
    found: list[int] = []
    while len(found) < count:
        port = _PORTS[0] + secrets.randbelow(_PORTS[1])
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            found += [port] if port not in found else []
    return found


def http_ready(url: str, *, ca_path: Path | None = None, token: str = "") -> Callable[[], bool]:
    """A probe: whether a GET of `url` answers 200 now."""
    context = ssl.create_default_context(cafile=ca_path) if ca_path else None
    pool = urllib3.PoolManager(ssl_context=context, retries=False, timeout=2.0)
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    def probe() -> bool:
        try:
            return pool.request("GET", url, headers=headers).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    return probe
