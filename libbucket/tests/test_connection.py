"""Tokens, authorities and kubeconfigs that are replaced under a running client."""

from __future__ import annotations

import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
import structlog
import yaml

from libbucket._kube import connection
from libbucket._kube.client import KubeClient
from libbucket._kube.config import Access
from libbucket._kube.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ApiServer(ThreadingHTTPServer):
    """Accepts one token, and returns the id of its cluster."""

    daemon_threads = True

    def __init__(self, token: str, uid: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token, self.uid = token, uid
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked = 0


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        self.server.asked += 1
        is_known = self.headers.get("Authorization") == f"Bearer {self.server.token}"
        body = b'{"metadata": {"name": "kube-system", "uid": "%s"}}' % self.server.uid.encode()
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def api_server(token: str = "first", uid: str = "cluster-1") -> Iterator[ApiServer]:
    with ApiServer(token, uid) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def _looks_at_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CHECK_SECONDS", 0.0)


def write(path: Path, url: str, **user: str) -> None:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    replace(path, yaml.safe_dump(content))


def replace(path: Path, content: str) -> None:
    """Replaces a file atomically, as a rotation does."""
    other = path.with_suffix(".new")
    other.write_text(content)
    other.replace(path)


def client_of(kubeconfig: Path) -> KubeClient:
    access = Access(kubeconfig=str(kubeconfig))
    return KubeClient(access.load(), access=access)


def test_a_token_file_that_is_replaced_is_used_at_the_next_request(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    with api_server() as server:
        write(tmp_path / "config", server.url, tokenFile="token")
        client = client_of(tmp_path / "config")
        client.get("/version")
        server.token = "second"
        replace(tmp_path / "token", "second")
        client.get("/version")


def test_a_token_that_was_not_replaced_is_refused(tmp_path: Path) -> None:
    with api_server() as server:
        write(tmp_path / "config", server.url, token="first")
        client = client_of(tmp_path / "config")
        server.token = "second"
        with pytest.raises(Unauthorized):
            client.get("/version")


def test_a_kubeconfig_that_leads_to_another_address_of_the_cluster_is_followed(tmp_path: Path) -> None:
    with api_server() as old, api_server("second") as new:
        write(tmp_path / "config", old.url, token="first")
        client = client_of(tmp_path / "config")
        client.stay_at("cluster-1")
        write(tmp_path / "config", new.url, token="second")
        client.get("/version")
        assert client.host == new.url
        assert old.asked == 0


def test_a_kubeconfig_of_another_cluster_is_rejected_and_logged_once(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs, api_server() as old, api_server("second", "cluster-2") as other:
        write(tmp_path / "config", old.url, token="first")
        client = client_of(tmp_path / "config")
        client.stay_at("cluster-1")
        write(tmp_path / "config", other.url, token="second")
        for _ in range(3):
            client.get("/version")
        assert client.host == old.url
    warnings = [line for line in logs if line["log_level"] == "warning"]
    assert len(warnings) == 1
    assert "another cluster" in warnings[0]["why"]


def test_a_kubeconfig_that_is_half_written_leaves_the_old_way_in_use_until_it_is_whole(tmp_path: Path) -> None:
    with api_server() as server:
        write(tmp_path / "config", server.url, token="first")
        client = client_of(tmp_path / "config")
        (tmp_path / "config").write_text("apiVersion: v1\nclusters: [")
        client.get("/version")
        server.token = "second"
        write(tmp_path / "config", server.url, token="second")
        client.get("/version")


def test_files_that_do_not_change_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with api_server() as server:
        write(tmp_path / "config", server.url, token="first")
        client = client_of(tmp_path / "config")
        monkeypatch.setattr(Access, "load", lambda _: pytest.fail("read again"))
        client.get("/version")
        time.sleep(0)
        client.get("/version")
