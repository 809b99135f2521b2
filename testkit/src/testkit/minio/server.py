"""Starts the real MinIO for tests: on 127.0.0.1 only, in a fresh directory, and leaves nothing behind.

Used by this package's tests, and importable by whatever else needs a MinIO. Knows nothing of the provisioner.
"""

from __future__ import annotations

import shutil
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

from libbucket.testing.binaries import go_binary
from libbucket.testing.certificates import Authority
from libbucket.testing.processes import Program, free_ports, fresh_directory, http_ready, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT_USER = "root-of-the-tests"
ROOT_PASSWORD = "only-for-the-tests"


@dataclass(frozen=True, kw_only=True)
class MinioServer:
    """A running server.

    Attributes:
        url: its S3 and admin endpoint.
        console_url: its web console.
        ca_bundle: PEM of the authority that signed its certificate; empty without TLS.
        user: the administrator.
        password: the administrator's.
    """

    url: str
    console_url: str
    ca_bundle: str
    user: str = ROOT_USER
    password: str = ROOT_PASSWORD

    @property
    def netloc(self) -> str:
        """`host:port`."""
        return self.url.partition("://")[2]


def minio_binary() -> Path:
    """A `minio` on PATH, or the last commit of the community edition, built once per machine.

    Later than the last release, RELEASE.2025-10-15, of which there are sources only, and which the Go module proxy has
    not; with its security fixes. The repository is no longer maintained since that commit.
    """
    found = shutil.which("minio")
    if found:
        return Path(found)
    return go_binary(name="minio", module="github.com/minio/minio", version="v0.0.0-20260212201848-7aac2a2c5b7c")


@contextmanager
def minio_server(
    binary: Path, *, tls: bool = False, parent: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[MinioServer]:
    """Runs a server until the block ends; its data is somewhere under `parent`, `settings` are in its environment."""
    with fresh_directory("minio-", parent=parent) as home:
        ca_bundle = _write_certificates(home / "certs") if tls else ""
        port, console_port = free_ports(2)
        scheme = "https" if tls else "http"
        server = MinioServer(
            url=f"{scheme}://127.0.0.1:{port}",
            console_url=f"{scheme}://127.0.0.1:{console_port}",
            ca_bundle=ca_bundle,
        )
        command: list[str | Path] = [binary, "server", "--quiet", "--certs-dir", home / "certs"]
        command += ["--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{console_port}", home / "data"]
        environment = {
            "HOME": str(home),
            "MINIO_CI_CD": "1",
            "MINIO_ROOT_USER": server.user,
            "MINIO_ROOT_PASSWORD": server.password,
            "MINIO_UPDATE": "off",
            **(settings or {}),
        }
        program = Program(name="minio", command=command, directory=home, environment=environment)
        ready = http_ready(f"{server.url}/minio/health/ready", ca_path=home / "certs" / "ca.pem" if tls else None)
        with running(program, ready=lambda: ready() and _knows_its_users(server)):
            yield server


def _knows_its_users(server: MinioServer) -> bool:
    """Whether the admin API answers: it says 503 for a moment after the server calls itself ready."""
    http = urllib3.PoolManager(
        ssl_context=ssl.create_default_context(cadata=server.ca_bundle) if server.ca_bundle else None,
        retries=False,
        timeout=2.0,
    )
    with http:
        admin = MinioAdmin(
            endpoint=server.netloc,
            credentials=StaticProvider(server.user, server.password),
            secure=bool(server.ca_bundle),
            http_client=http,
        )
        try:
            admin.user_list()
            admin.policy_list()
        except (MinioAdminException, urllib3.exceptions.HTTPError):
            return False
    return True


def _write_certificates(directory: Path) -> str:
    directory.mkdir()
    authority = Authority()
    certificate, key = authority.server()
    (directory / "public.crt").write_bytes(certificate)
    (directory / "private.key").write_bytes(key)
    (directory / "ca.pem").write_bytes(authority.certificate_pem)
    return authority.certificate_pem.decode()
