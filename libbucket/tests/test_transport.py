"""Dead connections: detected early, and without one time-out for each."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from urllib3 import connectionpool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ClosedPoolError

from libbucket._kube.client import KubeClient
from libbucket._kube.client_config import Address, ClientConfig
from libbucket._kube.errors import ClusterUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Balancer:
    """A load balancer of API servers, one of which disappears silently: its connections get no answers."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.accepted: list[socket.socket] = []
        self.dead: set[socket.socket] = set()
        self.together = threading.Barrier(1)

    def serve(self) -> None:
        while True:
            try:
                accepted, _ = self.listener.accept()
            except OSError:
                return
            self.accepted.append(accepted)
            threading.Thread(target=self._answer, args=(accepted,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError, threading.BrokenBarrierError):
            while connection.recv(65536):
                self.together.wait(10)
                if connection not in self.dead:
                    connection.sendall(ANSWER)

    def lose_all(self) -> None:
        self.dead |= set(self.accepted)


@contextmanager
def balancer() -> Iterator[Balancer]:
    server = Balancer()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        thread.join(5)
        for one in server.accepted:
            one.close()


@contextmanager
def client_of(url: str) -> Iterator[KubeClient]:
    client = KubeClient(ClientConfig(address=Address(host=url)))
    yield client
    client.close()


def ask_together(client: KubeClient, server: Balancer, count: int) -> int:
    """The number of answered requests, of so many concurrent ones on separate connections."""
    server.together = threading.Barrier(count)  # an answer only once all wait for one: none can share
    answered: list[bytes] = []

    def ask() -> None:
        with suppress(ClusterUnavailable):
            answered.append(client.get("/"))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    server.together = threading.Barrier(1)
    return len(answered)


def test_after_one_time_out_no_other_pooled_connection_is_waited_for() -> None:
    with balancer() as server, client_of(server.url) as client:
        assert ask_together(client, server, 4) == 4
        server.lose_all()
        with pytest.raises(ClusterUnavailable, match="no answer in time"):
            client.impatient(0.3).get("/")
        assert ask_together(client.impatient(2.0), server, 3) == 3
        assert len(server.accepted) == 4 + 3


def test_a_pool_that_is_closed_under_a_request_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    get_connection = connectionpool.HTTPConnectionPool._get_conn
    closed = iter([True])

    def get(self: connectionpool.HTTPConnectionPool, *args: object, **kwargs: object) -> object:
        if next(closed, False):
            self.close()
            client.close()
            raise ClosedPoolError(self, "Pool is closed.")
        return get_connection(self, *args, **kwargs)  # type: ignore[arg-type]

    with balancer() as server, client_of(server.url) as client:
        monkeypatch.setattr(connectionpool.HTTPConnectionPool, "_get_conn", get)
        client.get("/")


@pytest.mark.parametrize(
    ("level", "option", "value"),
    [
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 15),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 15_000),
    ],
)
def test_each_connection_has_keepalive_and_a_user_timeout(
    level: int, option: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(socket, option):
        pytest.skip(f"this system has no {option}")
    made: list[socket.socket] = []
    connect = HTTPConnection._new_conn

    def new_connection(self: HTTPConnection) -> socket.socket:
        made.append(connect(self))
        return made[-1]

    monkeypatch.setattr(HTTPConnection, "_new_conn", new_connection)
    with balancer() as server, client_of(server.url) as client:
        client.get("/")
        assert made[0].getsockopt(level, getattr(socket, option)) == value
