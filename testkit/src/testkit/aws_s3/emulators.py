"""Starts the emulators of AWS: on 127.0.0.1 only, in a fresh directory, and leaves nothing behind.

Two: ministack, which checks every request against IAM; and moto, which knows the limits of IAM.
They live in an environment of their own, made once per machine from `requirements/aws-servers.txt`. Used by this
package's tests, and importable by whatever else needs an AWS. Knows nothing of the provisioner.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from libbucket.testing.binaries import cache_directory
from libbucket.testing.problems import SetupFailed
from libbucket.testing.processes import HOST, Program, free_ports, fresh_directory, http_ready, running
from libbucket.testing.progress import waiting
from testkit.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ROOT_KEY = "AKIAROOTOFTHETESTS00"
ROOT_SECRET = "only-for-the-tests"
REQUIREMENTS = ROOT / "requirements/aws-servers.txt"


@dataclass(frozen=True, kw_only=True)
class AwsServer:
    """A running server: S3, and what it has of IAM and STS.

    Attributes:
        url: of S3, and mostly of all three.
        access_key: the administrator's, who may do everything.
        secret_key: the administrator's.
        account: number of the AWS account.
        separate_iam_url: of IAM, where that is not on the port of S3.
    """

    url: str
    access_key: str = ROOT_KEY
    secret_key: str = ROOT_SECRET
    account: str = "000000000000"
    separate_iam_url: str = ""

    @property
    def iam_url(self) -> str:
        """Of IAM."""
        return self.separate_iam_url or self.url


@contextmanager
def ministack() -> Iterator[AwsServer]:
    """Runs ministack until the block ends."""
    with fresh_directory("ministack-") as home:
        (port,) = free_ports(1)
        server = AwsServer(url=f"http://{HOST}:{port}")
        environment = {
            "HOME": str(home),
            "TMPDIR": str(home),
            "BIND_HOST": HOST,  # its default is every interface
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "AUTH": "true",
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
        command: list[str | Path] = [servers_python(), "-m", "ministack"]
        program = Program(name="ministack", command=command, directory=home, environment=environment)
        with running(program, ready=http_ready(f"{server.url}/_ministack/health")):
            yield server


@contextmanager
def moto() -> Iterator[AwsServer]:
    """Runs moto until the block ends. It lets everybody do everything."""
    with fresh_directory("moto-") as home:
        (port,) = free_ports(1)
        server = AwsServer(url=f"http://{HOST}:{port}", account="123456789012")
        environment = {"HOME": str(home), "TMPDIR": str(home), "INITIAL_NO_AUTH_ACTION_COUNT": "inf"}
        command: list[str | Path] = [servers_python(), "-m", "moto.server", "-H", HOST, "-p", str(port)]
        program = Program(name="moto", command=command, directory=home, environment=environment)
        with running(program, ready=http_ready(f"{server.url}/moto-api/data.json")):
            yield server


def servers_python() -> Path:
    """The interpreter of the servers' environment, which is made if this machine has it not yet.

    Raises:
        SetupFailed: it can't be made.
    """
    kept = cache_directory() / f"aws-servers-{_key()}"
    python = kept / "bin" / "python"
    done = kept / "complete"
    if not done.exists():
        with (cache_directory() / "aws-servers.lock").open("w") as lock:
            with waiting("waiting for another installation of the AWS servers on this machine"):
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                _install(kept, python)
                done.touch()
    return python


def _install(kept: Path, python: Path) -> None:
    # Made where it stays: an environment can't be moved. What an interrupted one left is removed first.
    shutil.rmtree(kept, ignore_errors=True)
    uv = shutil.which("uv")
    pinned = ["--require-hashes", "-r", str(REQUIREMENTS)]
    if uv:
        steps = [
            [uv, "venv", "--quiet", "--python", sys.executable, str(kept)],
            [uv, "pip", "install", "--quiet", "--python", str(python), *pinned],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(kept)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned],
        ]
    with waiting("installing the AWS servers, once per machine"):
        for step in steps:
            _run(step)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join(f"    {line}" for line in (done.stdout + done.stderr).splitlines()[-15:])
        raise SetupFailed(f"the AWS servers can't be installed; the last lines of {command[0]}:\n{last}")


def _key() -> str:
    python = ".".join(map(str, sys.version_info[:2]))
    return hashlib.sha256(REQUIREMENTS.read_bytes() + python.encode()).hexdigest()[:16]
