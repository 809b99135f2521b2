"""The HTTP endpoint on a real socket."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import urllib3

from libbucket._metrics import Metrics
from libbucket._run import http
from libbucket._run.http import HealthServer
from libbucket._run.problems import StartFailed
from libbucket._run.settings import Address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._queue import QueueState

HOST = "127.0.0.1"


class World:
    def __init__(self) -> None:
        self.waits_for = ""
        self.metrics = Metrics()

    def not_ready(self) -> str:
        return self.waits_for


@contextmanager
def serving(world: World, host: str = HOST) -> Iterator[HealthServer]:
    server = HealthServer(Address(host=host, port=0), world.metrics.registry, world.not_ready)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def get(server: HealthServer, path: str, *, method: str = "GET") -> tuple[int, str]:
    with urllib3.PoolManager(retries=False, timeout=5.0) as pool:
        answer = pool.request(method, f"http://{HOST}:{server.port}{path}")
        return answer.status, answer.data.decode()


def test_healthz_answers_while_the_process_is_not_ready() -> None:
    world = World()
    world.waits_for = "claims to be listed"
    with serving(world) as server:
        assert get(server, "/healthz") == (200, "ok\n")


def test_readyz_says_what_is_waited_for_and_then_ok() -> None:
    world = World()
    world.waits_for = "claims to be listed"
    with serving(world) as server:
        assert get(server, "/readyz") == (503, "not ready: claims to be listed\n")
        world.waits_for = ""
        assert get(server, "/readyz?verbose") == (200, "ok\n")


def test_metrics_are_those_of_the_registry() -> None:
    world = World()
    world.metrics.leader(is_leader=True)
    with serving(world) as server:
        status, text = get(server, "/metrics")
    assert status == 200
    assert "libbucket_leader 1.0" in text


def test_another_path_says_which_there_are() -> None:
    with serving(World()) as server:
        status, text = get(server, "/")
    assert status == 404
    assert "/healthz" in text


def test_head_answers_without_a_body() -> None:
    with serving(World()) as server:
        assert get(server, "/healthz", method="HEAD") == (200, "")


def test_a_collector_that_fails_is_a_500_and_the_others_go_on() -> None:
    def failing() -> QueueState:
        raise RuntimeError("broken")

    world = World()
    world.metrics.watch_queue(failing)
    with serving(world) as server:
        assert get(server, "/metrics")[0] == 500
        assert get(server, "/healthz")[0] == 200


def test_a_port_in_use_is_one_sentence_that_names_the_flag() -> None:
    with serving(World()) as server, pytest.raises(StartFailed) as raised:
        HealthServer(Address(host=HOST, port=server.port), Metrics().registry, str)
    assert str(raised.value) == f"can't listen on {HOST}:{server.port} (--bind-address): Address already in use"


def test_a_host_that_is_not_ours_is_one_sentence() -> None:
    with pytest.raises(StartFailed, match="can't listen on"):
        HealthServer(Address(host="192.0.2.1", port=0), Metrics().registry, str)


def test_without_a_host_every_interface_answers() -> None:
    with serving(World(), host="") as server:
        assert get(server, "/healthz") == (200, "ok\n")


def test_a_client_that_sends_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http._Handler, "timeout", 0.1)
    with serving(World()) as server, socket.create_connection((HOST, server.port), timeout=5) as silent:
        assert get(server, "/healthz")[0] == 200, "others are answered meanwhile"
        assert silent.recv(1) == b"", "the server hangs up"


def test_it_can_be_stopped_before_it_was_started() -> None:
    HealthServer(Address(host=HOST, port=0), Metrics().registry, str).stop()
