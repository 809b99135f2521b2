"""The request hook: called last, after the connection is established, at every attempt."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import urllib3

from libbucket import fence_requests
from libbucket.testing.certificates import Authority
from libbucket.testing.misbehaving import Answer, closed_port_url, dripping_server, scripted_server

if TYPE_CHECKING:
    from pathlib import Path


class Shut(Exception):
    """What a fence raises."""


def shut() -> None:
    raise Shut


def test_a_fenced_request_is_not_sent_and_the_exception_is_unchanged() -> None:
    with scripted_server(Answer()) as server, urllib3.PoolManager() as manager:
        fence_requests(manager, shut)
        with pytest.raises(Shut):
            manager.request("PUT", server.url)
        assert server.requests == []


def test_a_permitted_request_is_sent() -> None:
    with scripted_server(Answer()) as server, urllib3.PoolManager() as manager:
        fence_requests(manager, lambda: None)
        assert manager.request("PUT", server.url).status == 200
        assert server.requests == ["PUT /"]


def test_each_attempt_calls_the_hook() -> None:
    asked: list[str] = []
    with scripted_server(Answer(status=503), Answer()) as server, urllib3.PoolManager() as manager:
        fence_requests(manager, lambda: asked.append("asked"))
        retries = urllib3.Retry(total=3, status_forcelist=[503], backoff_factor=0)
        assert manager.request("GET", server.url, retries=retries).status == 200
    assert len(asked) == 2


def test_the_hook_is_not_called_before_a_connection_exists() -> None:
    with urllib3.PoolManager(retries=False) as manager:
        fence_requests(manager, shut)
        with pytest.raises(urllib3.exceptions.NewConnectionError):
            manager.request("GET", closed_port_url())


def test_a_slow_handshake_is_fenced_before_the_request(tmp_path: Path) -> None:
    authority, may = Authority(), threading.Event()
    may.set()

    def fence() -> None:
        if not may.is_set():
            raise Shut

    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            may.clear()  # what happens while the client waits: its lease ends
            with closing(_serving(authority, tmp_path).wrap_socket(connection, server_side=True)) as wrapped:
                seen.append(wrapped.recv(65536))

        thread = threading.Thread(target=serve)
        thread.start()
        context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
        with urllib3.PoolManager(retries=False, ssl_context=context) as manager:
            fence_requests(manager, fence)
            with pytest.raises(Shut):
                manager.request("PUT", f"https://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join(10)
    assert seen == [b""]


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_an_answer_that_drips_ends_at_the_limit_of_the_whole(start: bytes) -> None:
    with dripping_server(start) as server, urllib3.PoolManager(timeout=30, retries=False) as manager:
        fence_requests(manager, lambda: None, answer_seconds=0.3)
        started = time.monotonic()
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            manager.request("GET", server.url)
    assert time.monotonic() - started < 5  # each byte comes in time, and a thousand of them take 20 s


def test_an_answer_within_the_limit_is_read_whole_and_its_connection_is_used_again() -> None:
    body = b"x" * 1_000_000
    with scripted_server(Answer(body=body), Answer(body=b"again")) as server, urllib3.PoolManager() as manager:
        fence_requests(manager, lambda: None, answer_seconds=20)
        assert manager.request("GET", server.url).data == body
        assert manager.request("GET", server.url).data == b"again"
        (pool,) = [manager.pools[key] for key in manager.pools.keys()]  # noqa: SIM118 - not a dict
        assert pool.num_connections == 1


def _serving(authority: Authority, directory: Path) -> ssl.SSLContext:
    certificate, key = authority.server()
    (directory / "server.crt").write_bytes(certificate)
    (directory / "server.key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # a client that closes without having read one resets the connection, and does not end it
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    return context
