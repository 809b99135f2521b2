"""The HTTP endpoint: `/healthz` (liveness), `/readyz` (readiness, or the reason), `/metrics`.

Started before the caches are filled, so that probes can distinguish a starting process from one that hangs. Reads only;
knows nothing of what it reports.

Every pod in the cluster may be able to connect, so resources are bounded: one thread serves all connections, and a
second one collects the metrics, so that a slow collector does not delay a probe. Each connection has one deadline for
the whole request and a bounded request head, and the oldest connection is dropped when there are too many: a probe,
which sends its request at once, is answered long before it is the oldest.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import structlog

from libbucket._run.pages import HEAD_TOO_LARGE, NOT_FOUND, Exposition, Request, probe
from libbucket._run.problems import StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from libbucket._run.pages import Page
    from libbucket._run.settings import Address

REQUEST_SECONDS: Final = 10.0
"""Seconds from accepting a connection to the last byte of the response."""

MAX_CONNECTIONS: Final = 256
MAX_HEAD: Final = 8 * 1024
"""Bytes of request line and headers. Prometheus and the kubelet send a few hundred."""

_BACKLOG: Final = 128
_STOP_SECONDS: Final = 2.0


class HealthServer:
    """Serves from its own threads until it is stopped.

    Args:
        address: to listen on.
        registry: source of `/metrics`.
        not_ready: returns "" if ready, else the reason. Must not block: all connections wait for it.
        not_alive: returns "" if alive, else the reason. Must not block.

    Raises:
        StartFailed: cannot listen on the address.
    """

    def __init__(
        self,
        address: Address,
        registry: CollectorRegistry,
        *,
        not_ready: Callable[[], str],
        not_alive: Callable[[], str] = str,
    ) -> None:
        self._probes = {"/healthz": ("not alive", not_alive), "/readyz": ("not ready", not_ready)}
        self._exposition = Exposition(registry)
        self._listener = _listen(address)
        self._port = int(self._listener.getsockname()[1])
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}  # the oldest first
        self._collecting = ThreadPoolExecutor(max_workers=1, thread_name_prefix="http-metrics")
        self._loop, self._stopping = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    def start(self) -> None:
        """Starts serving."""
        self._thread.start()

    def stop(self) -> None:
        """Stops serving, and drops open connections."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_STOP_SECONDS)
        else:
            self._loop.close()
        self._listener.close()
        self._collecting.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception:  # noqa: BLE001 - without an answer to its probe the kubelet restarts the container; logged
            structlog.get_logger().exception("the HTTP endpoint has ended: probes and metrics fail from now on")

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, sock=self._listener, limit=MAX_HEAD, backlog=_BACKLOG)
        await self._stopping.wait()
        server.close()  # the runner cancels open connections

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # An explicit task: asyncio logs a traceback for each implicit one that is cancelled.
        task = self._loop.create_task(self._serve_one(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._close)
        if len(self._connections) > MAX_CONNECTIONS:
            oldest = next(iter(self._connections))
            oldest.cancel()
            self._close(oldest)

    def _close(self, task: asyncio.Task[None]) -> None:
        writer = self._connections.pop(task, None)
        if writer is not None:
            writer.transport.abort()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                writer.write(await self._answer(reader))
                writer.close()
                await writer.wait_closed()  # until the client has received the response
        except (TimeoutError, OSError, EOFError) as error:
            structlog.get_logger().debug("an HTTP request was not completed", error=repr(error))

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            request = Request(await reader.readuntil(b"\r\n\r\n"))
        except asyncio.LimitOverrunError:
            return HEAD_TOO_LARGE
        return request.answer(await self._page(request)) if request.is_valid else request.refusal

    async def _page(self, request: Request) -> Page:
        path = request.path.partition("?")[0]
        if path in self._probes:
            return probe(*self._probes[path])
        if path == "/metrics":
            accept = request.headers.get("Accept", "")
            return await asyncio.get_running_loop().run_in_executor(self._collecting, self._exposition.page, accept)
        return NOT_FOUND


def _listen(address: Address) -> socket.socket:
    both = not address.host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, dualstack_ipv6=both)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        why = os.strerror(number) if number > 0 else str(error)
        raise StartFailed(f"cannot listen on {address} (--bind-address): {why}") from error
