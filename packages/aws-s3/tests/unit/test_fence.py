"""The fence is asked once for each request that is sent, with its connection made, and for nothing else."""

from __future__ import annotations

import http.server
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aws_s3_provisioner.client import Connector
from aws_s3_provisioner.parameters import Admin, parse_parameters
from aws_s3_provisioner.provisioner import AwsS3Provisioner
from libbucket import ProvisionerError, SecretStr, StoreUnavailable
from libbucket.testing.certificates import Authority
from libbucket.testing.misbehaving import Answer, closed_port_url, scripted_server, silent_server
from testkit.aws_s3.fakes import SHORT, USUAL, each_verb, provisioner_for, verbs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aws_s3_provisioner.sdk_clients import Limits

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")


class Fence:
    """Counts how often it is asked; raises if it is told to."""

    def __init__(self, *, raises: Exception | None = None) -> None:
        self.asked = 0
        self._raises = raises

    def __call__(self) -> None:
        self.asked += 1
        if self._raises is not None:
            raise self._raises


class Frozen(Exception):
    """What the core's fence raises: something that the SDK does not know."""


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


def outcome(url: str, verb: str, fence: Fence, limits: Limits = USUAL) -> ProvisionerError:
    with pytest.raises(ProvisionerError) as caught:
        verbs(provisioner_for(fence=fence, limits=limits), url)[verb]()
    return caught.value


def test_the_provisioner_says_that_it_tracks_requests() -> None:
    assert AwsS3Provisioner.tracks_requests


@each_verb
def test_a_host_that_does_not_resolve_is_sent_nothing(verb: str) -> None:
    fence = Fence()
    assert isinstance(outcome("http://no-such-host.invalid:9000", verb, fence), StoreUnavailable)
    assert fence.asked == 0


@each_verb
def test_a_closed_port_is_sent_nothing(verb: str) -> None:
    fence = Fence()
    assert isinstance(outcome(closed_port_url(), verb, fence), StoreUnavailable)
    assert fence.asked == 0


@each_verb
def test_a_server_whose_certificate_is_not_trusted_is_sent_nothing(verb: str, tmp_path: Path) -> None:
    fence = Fence()
    with tls_server(tmp_path) as (url, seen):
        assert "certificate" in outcome(url, verb, fence).message
        assert seen == []
    assert fence.asked == 0


def test_a_server_whose_certificate_is_trusted_is_sent_one_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence = Fence()
    with tls_server(tmp_path) as (url, seen):
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        assert isinstance(outcome(url, "revoke", fence), StoreUnavailable)
        assert seen == ["POST /"]
    assert fence.asked == 1


@each_verb
def test_a_request_that_is_sent_asks_once(verb: str) -> None:
    fence = Fence()
    with scripted_server(Answer(status=500)) as server:
        outcome(server.url, verb, fence)
        assert len(server.requests) == 1
    assert fence.asked == 1


def test_a_request_that_is_never_answered_was_sent() -> None:
    fence = Fence()
    with silent_server() as server:
        outcome(server.url, "provision", fence, SHORT)
    assert fence.asked == 1


@each_verb
def test_what_the_fence_raises_comes_out_as_it_is_and_nothing_is_sent(verb: str) -> None:
    frozen = Frozen()
    with scripted_server(Answer(status=500)) as server:
        with pytest.raises(Frozen) as caught:
            verbs(provisioner_for(fence=Fence(raises=frozen)), server.url)[verb]()
        assert caught.value is frozen
        assert server.requests == []


def test_each_attempt_that_the_sdk_makes_asks_again() -> None:
    fence = Fence()
    admin = Admin(access_key="AKIA", secret_key=SecretStr("s3cr3t"), token=SecretStr(""))
    with scripted_server(Answer(status=409, body=b"<Error><Code>OperationAborted</Code></Error>")) as server:
        parameters = parse_parameters({"s3Endpoint": server.url, "iamEndpoint": server.url})
        with Connector(USUAL, fence).connect(parameters, admin) as clients:
            # The SDK is told not to retry; were it to, by a setting that comes with a later version, it would ask.
            events: Any = clients.s3.meta.events
            events.register("needs-retry.s3", lambda attempts, **_: 0 if attempts < 3 else None)
            with pytest.raises(clients.s3.exceptions.ClientError):
                clients.s3.list_buckets()
        assert len(server.requests) == 3
    assert fence.asked == 3


@each_verb
def test_a_proxy_that_is_away_is_sent_nothing_and_one_that_is_there_once(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence = Fence()
    monkeypatch.setenv("HTTP_PROXY", closed_port_url())
    assert isinstance(outcome("http://store.invalid:9000", verb, fence), StoreUnavailable)
    assert fence.asked == 0
    with scripted_server(Answer(status=500)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        outcome("http://store.invalid:9000", verb, fence)
        assert len(proxy.requests) == 1
        assert proxy.requests[0].split()[1].startswith("http://store.invalid:9000/")
    assert fence.asked == 1


def test_a_proxy_that_opens_no_tunnel_is_sent_no_request_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    fence = Fence()
    with scripted_server(Answer(status=403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        outcome("https://store.invalid", "provision", fence)
        assert proxy.requests == ["CONNECT store.invalid:443"]
    assert fence.asked == 0


@contextmanager
def tls_server(directory: Path) -> Iterator[tuple[str, list[str]]]:
    """Answers each request with 500, with a certificate of the authority in `ca.pem`; yields URL and requests."""
    authority = Authority()
    certificate, key = authority.server()
    (directory / "server.pem").write_bytes(certificate + key)
    (directory / "ca.pem").write_bytes(authority.certificate_pem)
    seen: list[str] = []

    class Failing(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(f"{self.command} {self.path}")
            self.send_response_only(500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
