"""Starts real provisioner processes in a tenth of a second: one process has everything imported, and forks.

    python fork_server.py minio_provisioner        # then, line by line on its standard input:
    start {"argv": [...], "log": "/path"}     -> "started PID"
                                              -> "ended PID STATUS", whenever one ends

What is forked runs the package's own `main` as a command line would, in a process group of its own, and is killed
from outside. `ForkServer` is the client. Knows that a package has `__main__.main`, and nothing else of it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from libbucket.testing.offline import guarded_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SECONDS: Final = 30.0
_FIRST_SECONDS: Final = 120.0
"""Until it has everything imported, on a machine that has much else to do."""


class Child:
    """A forked provisioner."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log_path = log
        self.ended = threading.Event()
        self.status: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return not self.ended.is_set()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; to one that has ended, nothing."""
        if self.is_running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and waits until it is dead."""
        self.signal(signal.SIGKILL)
        assert self.ended.wait(_SECONDS), f"process {self.pid} survived SIGKILL"

    def log(self) -> str:
        """What this one has printed."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


class ForkServer:
    """The process that forks, seen from outside. Use `fork_server`."""

    def __init__(self, module: str, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._children: dict[int, Child] = {}
        self._answer: Child | None = None
        self._answered = threading.Semaphore(0)
        self._count = 0
        self._next_log = Path()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, **guarded_environment(), **environment},
        )
        self._reader = threading.Thread(target=self._read, daemon=True, name=f"fork_server-{module}")
        self._reader.start()

    def start(self, argv: Sequence[str]) -> Child:
        """Forks one that runs with these arguments."""
        with self._lock:
            self._count += 1
            self._next_log = self._directory / f"provisioner-{self._count}.log"
            assert self._process.stdin is not None
            self._process.stdin.write(f"start {json.dumps({'argv': list(argv), 'log': str(self._next_log)})}\n")
            assert self._answered.acquire(timeout=_FIRST_SECONDS), "the fork_server does not answer"
            assert self._answer is not None
            return self._answer

    def close(self) -> None:
        """Ends it and all that it forked."""
        for child in list(self._children.values()):
            child.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:  # it is importing still
            self._process.kill()
            self._process.wait(_SECONDS)
        self._reader.join(_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, pid, *rest = line.split()
            if word == "started":
                self._answer = self._children[int(pid)] = Child(int(pid), self._next_log)
                self._answered.release()
            else:
                child = self._children.pop(int(pid))
                child.status = int(rest[0])
                child.ended.set()


@contextmanager
def fork_server(module: str, directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[ForkServer]:
    """Runs one for a package of this name until the block ends; logs go into `directory`."""
    made = ForkServer(module, directory, environment or {})
    try:
        yield made
    finally:
        made.close()


def _become(main: Any, argv: list[str], log: str) -> None:
    """In the child: turns into the provisioner, and never returns."""
    status = 70
    try:
        os.setpgid(0, 0)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sys.argv = ["provisioner", *argv]
        status = main()
    finally:
        os._exit(status)


def _serve(main: Any) -> None:
    """In the fork_server: one thread, which forks and reaps."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(reader, selectors.EVENT_READ)
    pending = b""
    while True:
        for key, _ in selector.select():
            data = os.read(key.fd, 65536)
            if key.fd == reader:
                _reap()
                continue
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                _fork(main, json.loads(line.partition(b" ")[2]))


def _fork(main: Any, order: dict[str, Any]) -> None:
    pid = os.fork()
    if pid == 0:
        _become(main, order["argv"], order["log"])
    os.write(1, f"started {pid}\n".encode())


def _reap() -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            os.write(1, f"ended {pid} {os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    package = importlib.import_module(f"{sys.argv[1]}.__main__")
    importlib.import_module("libbucket._run.main")  # which the entry point imports only when it runs
    gc.freeze()
    _serve(package.main)
