"""The HTTP endpoint on a real socket."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from libbucket._metrics import Metrics
from libbucket._run import http, pages
from libbucket._run.http import HealthServer
from libbucket._run.pages import Request
from libbucket._run.problems import StartFailed
from libbucket._run.settings import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from libbucket._queue import QueueState

HOST = "127.0.0.1"
SECONDS = 30.0
"""Within which everything here happens, on the slowest machine."""


class Process:
    """What the server reports on."""

    def __init__(self) -> None:
        self.waits_for = ""
        self.died = ""
        self.metrics = Metrics()

    def not_ready(self) -> str:
        return self.waits_for

    def not_alive(self) -> str:
        return self.died


@contextmanager
def serving(process: Process, host: str = HOST) -> Iterator[HealthServer]:
    server = HealthServer(
        Address(host=host, port=0),
        process.metrics.registry,
        not_ready=process.not_ready,
        not_alive=process.not_alive,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


def get(server: HealthServer, path: str, *, method: str = "GET", accept: str = "*/*") -> tuple[int, str]:
    with urllib3.PoolManager(retries=False, timeout=SECONDS) as pool:
        answer = pool.request(method, f"http://{HOST}:{server.port}{path}", headers={"Accept": accept})
        return answer.status, answer.data.decode()


def connect(server: HealthServer, *, sends: bytes = b"") -> socket.socket:
    connection = socket.create_connection((HOST, server.port), timeout=SECONDS)
    connection.sendall(sends)
    return connection


def received(connection: socket.socket) -> bytes:
    """All bytes until the server closes the connection."""
    parts = []
    with suppress(ConnectionError):
        while part := connection.recv(4096):
            parts.append(part)
    return b"".join(parts)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_healthz_answers_while_the_process_is_not_ready() -> None:
    process = Process()
    process.waits_for = "claims to be listed"
    with serving(process) as server:
        assert get(server, "/healthz") == (200, "ok\n")


def test_readyz_names_what_it_waits_for_and_then_returns_ok() -> None:
    process = Process()
    process.waits_for = "claims to be listed"
    with serving(process) as server:
        assert get(server, "/readyz") == (503, "not ready: claims to be listed\n")
        process.waits_for = ""
        assert get(server, "/readyz?verbose") == (200, "ok\n")


def test_metrics_are_those_of_the_registry() -> None:
    process = Process()
    process.metrics.leader(16)
    with serving(process) as server:
        status, text = get(server, "/metrics")
    assert status == 200
    assert "libbucket_leader 1.0" in text


def test_an_unknown_path_lists_the_available_ones() -> None:
    with serving(Process()) as server:
        status, text = get(server, "/")
    assert status == 404
    assert "/healthz" in text


def test_head_answers_without_a_body() -> None:
    with serving(Process()) as server:
        assert get(server, "/healthz", method="HEAD") == (200, "")


def test_a_collector_that_fails_is_a_500_and_the_others_go_on() -> None:
    def failing() -> QueueState:
        raise RuntimeError("broken")

    process = Process()
    process.metrics.watch_queue(failing)
    with serving(process) as server:
        assert get(server, "/metrics")[0] == 500
        assert get(server, "/healthz")[0] == 200


def test_a_port_in_use_is_one_sentence_that_names_the_flag() -> None:
    with serving(Process()) as server, pytest.raises(StartFailed) as raised:
        HealthServer(Address(host=HOST, port=server.port), Metrics().registry, not_ready=str)
    assert str(raised.value) == f"cannot listen on {HOST}:{server.port} (--bind-address): Address already in use"


def test_an_address_of_another_host_fails_with_one_sentence() -> None:
    with pytest.raises(StartFailed, match="cannot listen on"):
        HealthServer(Address(host="192.0.2.1", port=0), Metrics().registry, not_ready=str)


def test_without_a_host_every_interface_answers() -> None:
    with serving(Process(), host="") as server:
        assert get(server, "/healthz") == (200, "ok\n")


def test_it_can_be_stopped_before_it_was_started() -> None:
    HealthServer(Address(host=HOST, port=0), Metrics().registry, not_ready=str).stop()


# Probes ---------------------------------------------------------------------------------------------------------------


def test_healthz_names_dead_threads() -> None:
    process = Process()
    with serving(process) as server:
        process.died = "thread informer-objectbucketclaims has ended"
        assert get(server, "/healthz") == (503, "not alive: thread informer-objectbucketclaims has ended\n")
        process.died = ""
        assert get(server, "/healthz") == (200, "ok\n")


def test_without_a_liveness_check_the_process_is_alive() -> None:
    server = HealthServer(Address(host=HOST, port=0), Metrics().registry, not_ready=str)
    server.start()
    assert get(server, "/healthz") == (200, "ok\n")
    server.stop()


def test_a_probe_is_one_line_of_utf_8() -> None:
    process = Process()
    process.waits_for = "a\nb \ud800"
    with serving(process) as server:
        assert get(server, "/readyz") == (503, "not ready: a b \\ud800\n")


def test_a_probe_that_fails_is_a_500_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> str:
        raise RuntimeError

    process = Process()
    monkeypatch.setattr(process, "not_ready", failing)
    with serving(process) as server:
        assert get(server, "/readyz")[0] == 500
        assert get(server, "/healthz")[0] == 200


# Metrics --------------------------------------------------------------------------------------------------------------


class Counting(Collector):
    """Counts how often it is collected; waits for `may_go_on` in it."""

    def __init__(self) -> None:
        self.collected = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        self.may_go_on.wait(SECONDS)
        self.collected += 1
        return [GaugeMetricFamily("libbucket_collected", "Times.", value=self.collected)]


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def process(counting: Counting) -> Process:
    process = Process()
    process.metrics.registry.register(counting)
    return process


OPEN_METRICS = "application/openmetrics-text"


def test_frequent_scrapes_are_answered_with_the_same_collection(
    process: Process, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "METRICS_SECONDS", 3600.0)
    with serving(process) as server:
        answers = {get(server, "/metrics") for _ in range(20)}
        (answer,) = answers
        assert answer[0] == 200
        versions = [f"{OPEN_METRICS};version=1.{minor}.0" for minor in range(20)]
        assert all(get(server, "/metrics", accept=version)[1].endswith("# EOF\n") for version in versions)
    assert counting.collected == 2, "once for each of the two formats, whatever versions are asked for"


def test_metrics_are_collected_again_after_a_second(
    process: Process, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "METRICS_SECONDS", 0.0)
    with serving(process) as server:
        answers = {get(server, "/metrics") for _ in range(20)}
    assert len(answers) == counting.collected == 20


def test_a_slow_collection_does_not_delay_probes(process: Process, counting: Counting) -> None:
    counting.may_go_on.clear()
    with serving(process) as server, connect(server, sends=b"GET /metrics HTTP/1.1\r\n\r\n") as scrape:
        assert get(server, "/healthz")[0] == 200
        counting.may_go_on.set()
        assert b"libbucket_collected 1.0" in received(scrape)


# Clients that misbehave -----------------------------------------------------------------------------------------------


def test_a_client_that_sends_nothing_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.1)
    with serving(Process()) as server, connect(server) as silent:
        assert received(silent) == b""


def test_a_slow_client_is_disconnected_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.3)
    started = time.monotonic()
    with serving(Process()) as server, connect(server, sends=b"GET /healthz HTTP/1.1\r\nX: ") as dripping:
        with suppress(ConnectionError):
            while not is_cut(dripping):
                dripping.sendall(b"x")
                assert time.monotonic() < started + SECONDS
        monkeypatch.setattr(http, "REQUEST_SECONDS", SECONDS)
        assert get(server, "/healthz")[0] == 200


def test_a_request_in_parts_is_answered() -> None:
    with serving(Process()) as server, connect(server, sends=b"GET /healthz HTTP/1.1\r\nX: ") as slow:
        assert get(server, "/healthz")[0] == 200, "others are answered meanwhile"
        slow.sendall(b"x\r\n")
        slow.sendall(b"\r\n")
        assert received(slow).endswith(b"ok\n")


def is_cut(connection: socket.socket) -> bool:
    connection.settimeout(0.02)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False


def test_a_client_that_does_not_read_the_response_is_disconnected(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(http, "NOT_FOUND", pages.Page(status=404, body=b"x" * 50_000_000))
    with serving(process) as server, connect(server, sends=b"GET / HTTP/1.1\r\n\r\n") as lazy:
        assert lazy.recv(1) == b"H", "it is being answered"
        wait_until(lambda: not server._connections)


@pytest.mark.parametrize("size", [4 * 1024, 1024 * 1024], ids=["of 4 KiB", "of 1 MiB"])
def test_a_request_head_has_a_limit(size: int) -> None:
    head = b"GET /healthz HTTP/1.1\r\nX: " + b"x" * size + b"\r\n\r\n"
    with serving(Process()) as server, socket.create_connection((HOST, server.port), timeout=SECONDS) as large:
        with suppress(ConnectionError):
            large.sendall(head)
        answer = received(large)
    assert answer.startswith(b"HTTP/1.0 200 OK") if size < http.MAX_HEAD else b" 200 " not in answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /healthz HTTP/1.1\r\n\r\n", 405),
        (b"GET /healthz HTTP/7.0\r\n\r\n", 505),
        (b"GET / healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n" + b"X: x\r\n" * 200 + b"\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\n" + b"X: x\r\n" * 50 + b"\r\n", 200),
    ],
    ids=["method", "version", "syntax", "200 headers", "50 headers"],
)
def test_a_request_that_is_none_is_refused(head: bytes, status: int) -> None:
    with serving(Process()) as server, connect(server, sends=head) as connection:
        assert received(connection).startswith(f"HTTP/1.0 {status} ".encode())


@given(st.binary(max_size=200).map(lambda some: some + b"\r\n\r\n"))
def test_no_request_raises(head: bytes) -> None:
    request = Request(head)
    assert request.answer(pages.NOT_FOUND) if request.is_valid else request.refusal is not None


def test_500_half_open_connections_leave_probes_and_metrics_answered(caplog: pytest.LogCaptureFixture) -> None:
    before = threading.active_count()
    with serving(Process()) as server, ExitStack() as stack:
        for number in range(500):
            stack.enter_context(connect(server, sends=b"GET /healthz HTTP/1.1\r\nX: " if number % 2 else b""))
        assert get(server, "/healthz") == (200, "ok\n")
        assert get(server, "/readyz") == (200, "ok\n")
        assert get(server, "/metrics")[0] == 200
        assert threading.active_count() <= before + 2
        assert len(server._connections) <= http.MAX_CONNECTIONS
        stack.close()
        wait_until(lambda: not server._connections)
        assert get(server, "/healthz") == (200, "ok\n")
    assert not caplog.records, "nothing that a client does is logged as an error"


def test_the_oldest_connection_is_dropped_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 2)
    with serving(Process()) as server, ExitStack() as stack:
        oldest, *others = [stack.enter_context(connect(server)) for _ in range(3)]
        assert received(oldest) == b"", "the server hangs up"
        for other in others:
            other.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            assert received(other).endswith(b"ok\n")
