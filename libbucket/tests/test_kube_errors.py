"""Translation of statuses and transport errors into typed errors with one sentence."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import urllib3.exceptions as transport

from libbucket._kube.client import KubeClient
from libbucket._kube.client_config import Address, ClientConfig, TlsSettings
from libbucket._kube.errors import (
    AlreadyExists,
    ClusterUnavailable,
    Conflict,
    Expired,
    Forbidden,
    KindMissing,
    KubeError,
    NamespaceTerminating,
    NotFound,
    Rejected,
    Status,
    Unauthorized,
    from_status,
    from_transport,
    parse_status,
)
from libbucket.testing.certificates import Authority
from libbucket.testing.misbehaving import silent_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "https://cluster.invalid:6443"
PATH = "/api/v1/secrets"
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


def refusal(code: int, *, headers: dict[str, str] | None = None, **status: Any) -> KubeError:
    body = json.dumps({"kind": "Status", "message": "no", "code": code, **status}).encode()
    return from_status(parse_status(body, code), headers or {}, PATH)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", Rejected),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "", KindMissing),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Expired),
        (410, "Gone", Expired),
        (422, "Invalid", Rejected),
        (413, "RequestEntityTooLarge", Rejected),
        (405, "MethodNotAllowed", Rejected),
        (418, "", Rejected),
        (408, "Timeout", ClusterUnavailable),
        (429, "TooManyRequests", ClusterUnavailable),
        (500, "InternalError", ClusterUnavailable),
        (503, "ServiceUnavailable", ClusterUnavailable),
        (504, "Timeout", ClusterUnavailable),
    ],
)
def test_each_refusal_has_its_type(code: int, reason: str, kind: type[KubeError]) -> None:
    assert type(refusal(code, reason=reason)) is kind


def test_a_missing_object_is_distinguished_from_a_missing_kind() -> None:
    assert type(refusal(404, details={"name": "photos", "kind": "objectbucketclaims"})) is NotFound
    assert type(from_status(parse_status(b"404 page not found\n", 404), {}, PATH)) is KindMissing


def test_a_terminating_namespace_is_distinguished_from_missing_permissions() -> None:
    details = {"causes": [{"reason": "NamespaceTerminating", "message": "it goes", "field": "metadata.namespace"}]}

    assert type(refusal(403, details=details)) is NamespaceTerminating
    assert type(refusal(403, details={"causes": None})) is Forbidden


def test_the_sentence_has_request_message_and_status() -> None:
    assert str(refusal(403, message="secrets is forbidden")) == "/api/v1/secrets: secrets is forbidden (403)"


@pytest.mark.parametrize(
    ("headers", "status", "delay"),
    [
        ({"Retry-After": "7"}, {}, 7.0),
        ({}, {"details": {"retryAfterSeconds": 3}}, 3.0),
        ({"Retry-After": "7"}, {"details": {"retryAfterSeconds": 3}}, 7.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, None),
        ({}, {}, None),
    ],
)
def test_how_long_the_server_asks_to_wait_is_known(
    headers: dict[str, str], status: dict[str, Any], delay: float | None
) -> None:
    error = refusal(429, headers=headers, **status)

    assert isinstance(error, ClusterUnavailable)
    assert error.delay == delay


@pytest.mark.parametrize("body", [HTML, b"", b"null", b"[]", b'"text"', b'{"code": "many"}', b"\xff\xfe"])
def test_a_body_that_is_not_a_status_leaves_the_http_status(body: bytes) -> None:
    status = parse_status(body, 502)

    assert status == Status(code=502)
    assert str(from_status(status, {}, PATH)) == "/api/v1/secrets: HTTP status (502)"


def test_the_http_status_counts_and_not_the_code_in_the_body() -> None:
    assert parse_status(b'{"code": 200, "message": "fine"}', 404).code == 404


def _retried(error: Exception) -> Exception:
    pool: Any = None
    return transport.MaxRetryError(pool, "/", error)


def _caused_by(error: BaseException, outer: Exception) -> Exception:
    outer.__cause__ = error
    return outer


POOL: Any = None


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            _retried(
                _caused_by(ConnectionRefusedError(111, "Connection refused"), transport.NewConnectionError(POOL, "x"))
            ),
            f"{HOST}: cannot be reached (Connection refused)",
        ),
        (
            _retried(transport.NameResolutionError("cluster.invalid", POOL, socket.gaierror(-2, "unknown"))),
            f"{HOST}: the host name is not known to DNS",
        ),
        (
            _retried(_caused_by(TimeoutError("timed out"), transport.ReadTimeoutError(POOL, "/", "x"))),
            f"{HOST}: no answer in time",
        ),
        (_retried(transport.ConnectTimeoutError(POOL, "x")), f"{HOST}: no answer in time"),
        (transport.ReadTimeoutError(POOL, "/", "x"), f"{HOST}: no answer in time"),
        (TimeoutError("timed out"), f"{HOST}: no answer in time"),
        (
            transport.ProtocolError("Connection broken", ConnectionResetError(104, "Connection reset by peer")),
            f"{HOST}: cannot be reached (Connection reset by peer)",
        ),
        (OSError("odd: words"), f"{HOST}: cannot be reached (words)"),
        (OSError(), f"{HOST}: cannot be reached (OSError)"),
    ],
)
def test_errors_without_an_answer_name_the_likely_cause(error: Exception, sentence: str) -> None:
    assert str(from_transport(error, HOST)) == sentence


def test_causes_that_go_round_in_a_circle_do_not_hang() -> None:
    one, other = OSError("one"), OSError("other")
    one.__cause__, other.__cause__ = other, one

    assert HOST in str(from_transport(one, HOST))


def client_of(host: str, ca: Path | None = None) -> KubeClient:
    tls = TlsSettings(authorities=ca.read_bytes() if ca is not None else b"")
    return KubeClient(ClientConfig(address=Address(host=host, tls=tls)))


def failure_of(host: str, ca: Path | None = None) -> str:
    """What a request to this host ends with."""
    client = client_of(host, ca)
    try:
        with pytest.raises(ClusterUnavailable) as caught:
            client.get("/version")
    finally:
        client.close()
    return str(caught.value)


@contextmanager
def listening(answer: bytes = b"", context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that responds to every connection with these bytes and closes it; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with closing(connection):
                try:
                    wrapped = context.wrap_socket(connection, server_side=True) if context else connection
                    wrapped.settimeout(1)
                    wrapped.recv(65536)
                    wrapped.sendall(answer)
                    wrapped.close()
                except OSError:
                    pass  # the client hung up, which is what some tests are about

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_a_closed_port_is_reported() -> None:
    with listening() as port:
        pass

    assert failure_of(f"http://127.0.0.1:{port}") == f"http://127.0.0.1:{port}: cannot be reached (Connection refused)"


def test_a_certificate_of_another_authority_is_named_as_such(authority: Authority, tmp_path: Path) -> None:
    context = serving(authority, tmp_path)
    ca = tmp_path / "other.crt"
    ca.write_bytes(Authority("other").certificate_pem)
    with listening(context=context) as port:
        sentence = failure_of(f"https://127.0.0.1:{port}", ca)

    assert sentence.startswith(f"https://127.0.0.1:{port}: its certificate does not fit the configured CA (")


def test_a_certificate_for_another_name_is_named_as_such(authority: Authority, tmp_path: Path) -> None:
    context = serving(authority, tmp_path, addresses=())
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.certificate_pem)
    with listening(context=context) as port:
        sentence = failure_of(f"https://127.0.0.1:{port}", ca)

    assert "does not fit the configured CA" in sentence
    assert "127.0.0.1" in sentence


def test_tls_to_a_plain_port_asks_whether_it_is_one() -> None:
    with listening(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as port:
        sentence = failure_of(f"https://127.0.0.1:{port}")

    assert "TLS handshake failed; is this an https port?" in sentence


def test_a_server_that_hangs_up_can_not_be_reached() -> None:
    with listening() as port:
        sentence = failure_of(f"http://127.0.0.1:{port}")

    assert "cannot be reached" in sentence


def test_a_proxy_that_answers_in_html_is_unavailable_and_its_page_is_not_shown() -> None:
    head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: {len(HTML)}\r\n\r\n"
    with listening(head.encode() + HTML) as port:
        sentence = failure_of(f"http://127.0.0.1:{port}")

    assert sentence == "/version: HTTP status (502)"


def test_a_server_that_never_answers_is_waited_for_once() -> None:
    with silent_server() as server:
        client = client_of(server.url).impatient(0.3)
        with pytest.raises(ClusterUnavailable, match="no answer in time"):
            client.get("/version")
        assert server.connections == 1
        client.close()


def test_a_stream_without_headers_has_the_time_limit_of_a_response() -> None:
    with silent_server() as server:
        client = client_of(server.url).impatient(0.3)
        with pytest.raises(ClusterUnavailable, match="no answer in time"):
            client.open_stream("/watch", params={}, accept="application/json", silence=600)
        client.close()


def serving(authority: Authority, directory: Path, addresses: tuple[str, ...] = ("127.0.0.1",)) -> ssl.SSLContext:
    """TLS for a server with a certificate of this authority."""
    certificate, key = authority.server(addresses=addresses)
    (directory / "server.crt").write_bytes(certificate)
    (directory / "server.key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    return context
