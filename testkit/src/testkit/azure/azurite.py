"""Starts azurite, the blob server, for tests: on 127.0.0.1 only, in memory, and leaves nothing behind.

Used by this package's tests, and importable by other tests. Installed from the lock file beside this module. Knows
nothing of the provisioner.
"""

from __future__ import annotations

import base64
import secrets
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import urllib3

from libbucket.testing.certificates import Authority
from libbucket.testing.processes import Program, free_ports, fresh_directory, running
from testkit.azure.npm_packages import node_program, npm_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT: Final = "accountofthetests"

_PACKAGE: Final = Path(__file__).with_name("azurite_npm")
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
    return npm_directory("azurite", _PACKAGE)


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
        command: list[str | Path] = [node_program(), main, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
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


def _write_certificates(home: Path) -> Path:
    authority = Authority()
    certificate, key = authority.server()
    (home / "server.pem").write_bytes(certificate)
    (home / "server.key").write_bytes(key)
    (home / "ca.pem").write_bytes(authority.certificate_pem)
    return home / "ca.pem"
