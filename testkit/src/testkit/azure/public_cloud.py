"""An azurite under the addresses that an account has in Azure's public cloud: for tools that are told nothing else.

A proxy of HTTPS connections, as companies have them: whatever a client asks for ends at azurite, which takes the
account from the name of the host. Clients find the proxy and its authority in their environment. Knows no tool.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from libbucket.testing.certificates import Authority
from libbucket.testing.processes import HOST, fresh_directory

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from testkit.azure.azurite import AzuriteServer

_SUFFIX: Final = ".blob.core.windows.net"
_SECONDS: Final = 60.0
"""A connection that is silent for longer is closed."""
_PIECE: Final = 65536
_TRUSTED: Final = ("CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_PROXIES: Final = ("HTTPS_PROXY", "https_proxy")


@dataclass(frozen=True, kw_only=True)
class PublicCloud:
    """A running one.

    Attributes:
        proxy: its URL.
        ca_file: PEM of the authority to trust.
    """

    proxy: str
    ca_file: str

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables by which clients find the proxy and its authority."""
        return {**dict.fromkeys(_PROXIES, self.proxy), **dict.fromkeys(_TRUSTED, self.ca_file)}


@contextmanager
def public_cloud(server: AzuriteServer) -> Iterator[PublicCloud]:
    """Runs the proxy until the block ends.

    Args:
        server: an azurite with TLS, which a SAS demands that is for HTTPS only.
    """
    with fresh_directory("public-cloud-") as home:
        authority = Authority()
        for name, pem in zip(("server.pem", "server.key"), authority.server(hosts=[f"*{_SUFFIX}"]), strict=True):
            (home / name).write_bytes(pem)
        (home / "ca.pem").write_bytes(authority.certificate_pem)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            proxy = _Proxy(server, home)
            listener = asyncio.run_coroutine_threadsafe(asyncio.start_server(proxy.handle, HOST, 0), loop).result()
            port = listener.sockets[0].getsockname()[1]
            yield PublicCloud(proxy=f"http://{HOST}:{port}", ca_file=str(home / "ca.pem"))
            asyncio.run_coroutine_threadsafe(_close(listener), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


class _Proxy:
    """Takes connections, and speaks TLS at both ends."""

    def __init__(self, server: AzuriteServer, home: Path) -> None:
        self._azurite = urlsplit(server.endpoint)
        self._as_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._as_server.load_cert_chain(home / "server.pem", home / "server.key")
        self._as_client = ssl.create_default_context(cafile=server.ca_file)

    async def handle(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serves one connection; a client or a server that goes away ends it, as it does without a proxy."""
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b" ", 2)
            if method != b"CONNECT" or not target.partition(b":")[0].endswith(_SUFFIX.encode()):
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await writer.drain()
                await writer.start_tls(self._as_server)
                there = await asyncio.open_connection(self._azurite.hostname, self._azurite.port, ssl=self._as_client)
                await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
        writer.close()


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    """Hands on what comes, until it ends; then the other end is closed, too."""
    try:
        while piece := await asyncio.wait_for(reader.read(_PIECE), _SECONDS):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()


async def _close(listener: asyncio.Server) -> None:
    """Ends the listener and every connection."""
    listener.close()
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
