"""Starts a provisioner as operators do: its own process, its own kubeconfig, readiness asked over HTTP.

    with provisioner_process(["my-provisioner"], kubeconfig=path) as provisioner:
        ...
        provisioner.kill()      # as the kernel would
        provisioner.start()     # and again

Used by integration tests, chaos tests and the demo. Knows the command line that all provisioners share; knows no
provisioner.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import urllib3

from libbucket._run.pages import METRICS_SECONDS
from libbucket.testing.offline import guarded_environment
from libbucket.testing.problems import SetupFailed
from libbucket.testing.processes import HOST, Program, RunningProcess, free_ports, fresh_directory, http_ready, start
from libbucket.testing.progress import waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0


class ProvisionerProcess:
    """A provisioner that can be started, stopped, killed and started again, always at the same address.

    Args:
        program: the whole command line.
        url: where it answers `/healthz`, `/readyz` and `/metrics`.
    """

    def __init__(self, program: Program, url: str) -> None:
        self.program = program
        self.url = url
        self._process: RunningProcess | None = None
        self._collected_anew_from = 0.0

    @property
    def pid(self) -> int:
        """Process id of the one that runs."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.exit_code is None

    def start(self, *, wait: bool = True) -> None:
        """Starts it, and waits until it is ready if `wait`.

        Raises:
            SetupFailed: it ended or was not ready in time; with the last lines of its log.
        """
        self._process = start(self.program)
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout: float = _READY_SECONDS) -> None:
        """Waits until `/readyz` answers 200.

        Raises:
            SetupFailed: it ended or was not ready in time; with the last lines of its log.
        """
        with waiting(f"waiting for {self.program.name} to be ready"):
            self._running().wait_ready(http_ready(f"{self.url}/readyz"), timeout=timeout)

    def wait_exit(self, timeout: float = _STOP_SECONDS) -> int:
        """Waits until it ends; gives the exit code.

        Raises:
            TimeoutError: it still runs.
        """
        return self._running().wait(timeout)

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """SIGTERM, and checks that it ends in time and in order.

        Raises:
            SetupFailed: it had to be killed, or its exit code was not 0; with the last lines of its log.
        """
        code = self._running().stop(timeout)
        self._process = None
        if code != 0:
            tail = "\n    ".join(self.log().splitlines()[-15:])
            raise SetupFailed(f"{self.program.name} ended with exit code {code} after SIGTERM:\n    {tail}")

    def kill(self) -> None:
        """SIGKILL: no goodbye, no lease released."""
        self._running().kill()
        self._process = None

    def log(self) -> str:
        """Everything that it has printed, over all starts."""
        return self.program.log_path.read_text(errors="replace")

    def metrics(self) -> str:
        """The text of its `/metrics` now: waits until a cached answer has expired."""
        time.sleep(max(self._collected_anew_from - time.monotonic(), 0.0))
        answer = urllib3.request("GET", f"{self.url}/metrics", timeout=5.0, retries=False)
        self._collected_anew_from = time.monotonic() + METRICS_SECONDS
        return answer.data.decode()

    def _running(self) -> RunningProcess:
        if self._process is None:
            raise SetupFailed(f"{self.program.name} is not running")
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.stop(_STOP_SECONDS)


@contextmanager
def provisioner_process(
    command: Sequence[str | Path],
    *,
    kubeconfig: Path,
    name: str = "provisioner",
    environment: Mapping[str, str] | None = None,
    ready: bool = True,
) -> Iterator[ProvisionerProcess]:
    """Runs a provisioner until the block ends.

    Args:
        command: program and arguments, without `--kubeconfig` and `--bind-address`, which are added.
        kubeconfig: whose permissions it has.
        name: for messages and the log's file name.
        environment: added to this process's environment.
        ready: False returns as soon as it is started, for one that is expected to fail.

    Raises:
        SetupFailed: it can't be started, ended early or was not ready in time.
    """
    address = f"{HOST}:{free_ports(1)[0]}"
    with fresh_directory() as directory:
        whole = [*command, "--kubeconfig", kubeconfig, "--bind-address", address]
        program = Program(
            name=name, command=whole, directory=directory, environment={**guarded_environment(), **(environment or {})}
        )
        process = ProvisionerProcess(program, f"http://{address}")
        try:
            process.start(wait=ready)
            yield process
        finally:
            process._end()  # noqa: SLF001 - at the end of a block that failed, how it stops no longer matters
