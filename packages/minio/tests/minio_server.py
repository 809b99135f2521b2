"""Starts the real MinIO for tests: on 127.0.0.1 only, in a fresh directory, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trustme
import urllib3

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT_USER = "root-of-the-tests"
ROOT_PASSWORD = "only-for-the-tests"
_READY_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class MinioServer:
    """A running server.

    Attributes:
        url: its S3 and admin endpoint.
        console_url: its web console.
        ca_bundle: PEM of the authority that signed its certificate; empty without TLS.
    """

    url: str
    console_url: str
    ca_bundle: str
    user: str = ROOT_USER
    password: str = ROOT_PASSWORD


def minio_binary() -> Path:
    """A `minio` on PATH, or the last community release, built once per machine."""
    found = shutil.which("minio")
    if found:
        return Path(found)
    from libbucket.testing.binaries import go_binary

    return go_binary(name="minio", module="github.com/minio/minio", version="v0.0.0-20250907161309-07c3a429bfed")


@contextmanager
def minio_server(binary: Path, *, tls: bool = False) -> Iterator[MinioServer]:
    """Runs a server until the block ends."""
    with tempfile.TemporaryDirectory(prefix="minio-") as directory:
        home = Path(directory)
        ca_bundle = _write_certificates(home / "certs") if tls else ""
        port, console_port = _free_ports()
        scheme = "https" if tls else "http"
        server = MinioServer(
            url=f"{scheme}://127.0.0.1:{port}",
            console_url=f"{scheme}://127.0.0.1:{console_port}",
            ca_bundle=ca_bundle,
        )
        command = [str(binary), "server", "--quiet", "--certs-dir", str(home / "certs")]
        command += ["--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{console_port}"]
        environment = os.environ | {
            "HOME": directory,
            "MINIO_CI_CD": "1",
            "MINIO_ROOT_USER": ROOT_USER,
            "MINIO_ROOT_PASSWORD": ROOT_PASSWORD,
            "MINIO_UPDATE": "off",
        }
        with (home / "log").open("wb") as log:
            process = subprocess.Popen([*command, str(home / "data")], env=environment, stdout=log, stderr=log)
        try:
            _wait_until_ready(server, process, home / "log")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(server: MinioServer, process: subprocess.Popen[bytes], log: Path) -> None:
    context = ssl.create_default_context(cadata=server.ca_bundle) if server.ca_bundle else None
    deadline = time.monotonic() + _READY_SECONDS
    with urllib3.PoolManager(retries=False, timeout=2, ssl_context=context) as pool:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if pool.request("GET", f"{server.url}/minio/health/ready").status == 200:
                    return
            except urllib3.exceptions.HTTPError:
                pass  # not listening yet
            time.sleep(0.05)
    raise RuntimeError(f"MinIO did not start: {log.read_text(errors='replace')[-2000:]}")


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _write_certificates(directory: Path) -> str:
    directory.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(directory / "private.key")
    certificate.cert_chain_pems[0].write_to_path(directory / "public.crt")
    return authority.cert_pem.bytes().decode()
