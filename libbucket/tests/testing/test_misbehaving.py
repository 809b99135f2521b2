"""The servers that misbehave do so as they say."""

from __future__ import annotations

import socket

import pytest
import urllib3

from libbucket.testing.misbehaving import Answer, closed_port_url, scripted_server, silent_server


def get(url: str, *, seconds: float = 5.0) -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager(retries=False, timeout=seconds) as pool:
        return pool.request("GET", url)


def test_a_silent_server_takes_a_request_and_never_answers() -> None:
    with silent_server() as server:
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            get(server.url, seconds=0.05)
        assert server.connections == 1


def test_clients_that_give_up_before_the_server_saw_them_are_counted() -> None:
    with silent_server() as server:
        address = urllib3.util.parse_url(server.url)
        for _ in range(100):
            socket.create_connection((address.host, address.port)).close()
        assert server.connections == 100


def test_a_scripted_server_answers_in_order_and_then_stays_at_the_last() -> None:
    with scripted_server(Answer(status=503, headers={"Retry-After": "7"}), Answer(body=b"hello")) as server:
        first, second, third = (get(f"{server.url}/a?b=c") for _ in range(3))
        assert (first.status, first.headers["Retry-After"]) == (503, "7")
        assert second.data == third.data == b"hello"
        assert server.requests == ["GET /a?b=c"] * 3


def test_no_server_listens_at_a_closed_port() -> None:
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        get(closed_port_url())
