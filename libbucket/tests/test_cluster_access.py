"""Kubeconfigs, service accounts, tokens and credential plugins: loading, and refusal in one sentence."""

from __future__ import annotations

import base64
import json
import os
import ssl
import stat
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
import structlog
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from libbucket._backoff import Backoff
from libbucket._kube import config, connection, exec_plugin
from libbucket._kube.client import KubeClient
from libbucket._kube.config import Access
from libbucket._kube.errors import KubeError, Misconfigured, Unauthorized
from libbucket.testing.certificates import Authority

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

SECONDS = 10.0
"""The most that a test waits for what has to happen."""

V1 = "client.authentication.k8s.io/v1"


class ApiServer(ThreadingHTTPServer):
    """Accepts some tokens and certificates; others get 401, and requests without credentials 403."""

    daemon_threads = True

    def __init__(self, *tokens: str, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.context = context
        self.tokens = set(tokens)
        self.seen: list[str] = []
        self.open: list[socket.socket] = []
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError), self._accepted(request) as connection:  # a handshake may fail, a client hang up
            self.open.append(connection)
            super().finish_request(connection, client_address)

    def _accepted(self, request: socket.socket) -> socket.socket:
        return self.context.wrap_socket(request, server_side=True) if self.context else request

    def restart(self) -> None:
        """Ends all connections, as a server that is started again does."""
        for one in self.open:
            with suppress(OSError):
                one.shutdown(2)
        self.open.clear()


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        shown = self.headers.get("Authorization", "")
        self.server.seen.append(shown)
        has_certificate = isinstance(self.connection, ssl.SSLSocket) and bool(self.connection.getpeercert())
        is_known = has_certificate or shown.removeprefix("Bearer ") in self.server.tokens
        body = b'{"metadata": {"name": "kube-system", "uid": "cluster-1"}}'
        self.send_response(200 if is_known else 401 if shown else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(*tokens: str, context: ssl.SSLContext | None = None) -> Iterator[ApiServer]:
    with ApiServer(*tokens, context=context) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
        server.restart()


@pytest.fixture(autouse=True)
def _in_no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "KUBECONFIG", "HTTPS_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(connection, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(connection, "_RETRY", Backoff(base=0.01, ceiling=0.05))
    monkeypatch.setattr(connection, "_REFUSED", Backoff(base=0.01, ceiling=0.05))


def kubeconfig(server: str = "", /, *, cluster: Any = None, **user: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server} | dict(cluster or {})}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def write(path: Path, content: Any) -> Path:
    """Replaces a file atomically, as a rotation does."""
    other = path.with_suffix(".new")
    other.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    other.replace(path)
    return path


def client_of(path: Path, master: str = "") -> KubeClient:
    return client_for(Access(kubeconfig=str(path), master=master))


def client_for(access: Access) -> KubeClient:
    client = KubeClient(access.load(), access=access)
    _CLIENTS.append(client)
    return client


_CLIENTS: list[KubeClient] = []


@pytest.fixture(autouse=True)
def _closed_clients() -> Iterator[None]:
    yield
    while _CLIENTS:
        _CLIENTS.pop().close()


def refusal_of(path: Path) -> str:
    """The sentence that loading this file ends with."""
    with pytest.raises(Misconfigured) as caught:
        Access(kubeconfig=str(path)).load()
    sentence = str(caught.value)
    assert sentence.startswith(f"no usable cluster configuration: {path}: ")
    assert "\n" not in sentence
    return sentence


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answers(client: KubeClient) -> bool:
    try:
        client.get("/version")
    except KubeError:
        return False
    return True


# Certificates and keys.


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def tls(authority: Authority, directory: Path) -> ssl.SSLContext:
    """Of a server that wants a certificate of its clients."""
    certificate, key = authority.server()
    (directory / "server.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    context.load_verify_locations(cadata=authority.certificate_pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def with_data(authority: Authority, url: str) -> dict[str, Any]:
    certificate, key = authority.client("admin")
    user = {"client-certificate-data": in_base64(certificate), "client-key-data": in_base64(key)}
    return kubeconfig(url, cluster={"certificate-authority-data": in_base64(authority.certificate_pem)}, **user)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def test_certificates_in_the_kubeconfig_survive_the_removal_of_temporary_files(
    authority: Authority, tmp_path: Path, temporary: Path
) -> None:
    with serving(context=tls(authority, tmp_path)) as server:
        client = client_of(write(tmp_path / "config", with_data(authority, server.url)))
        client.get("/version")
        for file in temporary.iterdir():
            file.unlink()
        server.restart()
        client.get("/version")


def test_certificates_in_the_kubeconfig_are_left_in_no_file(
    authority: Authority, tmp_path: Path, temporary: Path
) -> None:
    with serving(context=tls(authority, tmp_path)) as server:
        client_of(write(tmp_path / "config", with_data(authority, server.url))).get("/version")
        assert list(temporary.iterdir()) == []


def test_without_files_in_memory_a_private_directory_is_used_and_removed(
    authority: Authority, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    modes: list[int] = []
    load_cert_chain = ssl.SSLContext.load_cert_chain

    def load(self: ssl.SSLContext, certfile: str, *args: Any, **kwargs: Any) -> None:
        modes.extend(stat.S_IMODE(one.stat().st_mode) for one in (Path(certfile).parent, Path(certfile)))
        load_cert_chain(self, certfile, *args, **kwargs)

    context = tls(authority, tmp_path)
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    with serving(context=context) as server:
        client_of(write(tmp_path / "config", with_data(authority, server.url))).get("/version")
    assert modes == [0o700, 0o600]
    assert list(temporary.iterdir()) == []


def test_no_temporary_directory_is_needed(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with serving(context=tls(authority, tmp_path)) as server:
        client_of(write(tmp_path / "config", with_data(authority, server.url))).get("/version")


def test_without_files_in_memory_and_a_directory_the_error_is_one_sentence(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(Misconfigured, match="give the process a TMPDIR that it may write to"):
        client_of(write(tmp_path / "config", with_data(authority, "https://127.0.0.1:1")))


def test_a_client_certificate_and_authority_that_are_replaced_are_used_without_a_restart(
    authority: Authority, tmp_path: Path
) -> None:
    with serving(context=tls(authority, tmp_path)) as server:
        stale = Authority("stale")
        client = client_of(write(tmp_path / "config", with_data(stale, server.url)))
        assert not answers(client)
        write(tmp_path / "config", with_data(authority, server.url))
        wait_until(lambda: answers(client))


@pytest.mark.parametrize(
    ("user", "sentence"),
    [
        ({"client-certificate-data": "%%", "client-key-data": ""}, "client-certificate-data is not base64"),
        ({"client-certificate": "missing.crt", "client-key": "x"}, "missing.crt: No such file or directory"),
        ({"client-certificate-data": in_base64(b"x")}, "needs both client-certificate and client-key"),
    ],
)
def test_a_client_certificate_that_cant_be_read_is_one_sentence(
    user: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "config", kubeconfig("https://127.0.0.1:1", **user))
    assert sentence in refusal_of(path)


def test_a_key_that_does_not_belong_to_the_certificate_is_one_sentence(authority: Authority, tmp_path: Path) -> None:
    content = with_data(authority, "https://127.0.0.1:1")
    content["users"][0]["user"]["client-key-data"] = in_base64(authority.client("other")[1])
    with pytest.raises(Misconfigured, match="the key does not belong to it"):
        client_of(write(tmp_path / "config", content))


def test_an_encrypted_key_does_not_prompt_for_a_password(authority: Authority, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    content = with_data(authority, "https://127.0.0.1:1")
    key = serialization.load_pem_private_key(authority.client("x")[1], None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    content["users"][0]["user"]["client-key-data"] = in_base64(locked)
    with pytest.raises(Misconfigured, match="the client key is encrypted"):
        client_of(write(tmp_path / "config", content))


# Tokens.


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n\n"])
def test_a_line_break_after_a_token_is_no_part_of_it(end: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(f"first{end}".encode())
    with serving("first") as server:
        client_of(write(tmp_path / "config", kubeconfig(server.url, tokenFile="token"))).get("/version")


def test_a_rotated_token_with_a_line_break_is_used(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    with serving("first") as server:
        client = client_of(write(tmp_path / "config", kubeconfig(server.url, tokenFile="token")))
        client.get("/version")
        server.tokens = {"second"}
        write(tmp_path / "token", "second\n")
        wait_until(lambda: answers(client))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"a\nb", "characters that are invalid in a token"),
        (b"\xff", "characters"),
    ],
)
def test_a_token_file_without_a_usable_token_is_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)
    path = write(tmp_path / "config", kubeconfig("http://127.0.0.1:1", tokenFile="token"))
    assert sentence in refusal_of(path)
    assert "tokenFile" in refusal_of(path)


def test_a_token_file_that_is_emptied_leaves_the_token_in_use_until_there_is_another(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    with serving("first") as server, structlog.testing.capture_logs() as logs:
        client = client_of(write(tmp_path / "config", kubeconfig(server.url, tokenFile="token")))
        write(tmp_path / "token", "")
        for _ in range(5):
            client.get("/version")
        write(tmp_path / "token", "second")
        server.tokens = {"second"}
        wait_until(lambda: answers(client))
    said = [line for line in logs if line["log_level"] == "warning"]
    assert len(said) == 1
    assert "keeping the previous one" in said[0]["event"]
    assert "is empty" in said[0]["why"]


def test_the_master_flag_holds_after_the_first_request(tmp_path: Path) -> None:
    with serving("first") as meant, serving("first") as other:
        client = client_of(write(tmp_path / "config", kubeconfig(other.url, token="first")), master=meant.url)
        for _ in range(3):
            client.get("/version")
        write(tmp_path / "config", kubeconfig(other.url, token="first", username="anybody"))
        client.get("/version")
        assert client.host == meant.url
        assert other.seen == []


def test_proxies_are_not_detected_at_each_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("first") as server:
        client = client_of(write(tmp_path / "config", kubeconfig(server.url, token="first")))
        monkeypatch.setattr(config, "getproxies", lambda: pytest.fail("looked"))
        client.get("/version")


def test_files_that_did_not_change_are_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("first") as server:
        client = client_of(write(tmp_path / "config", kubeconfig(server.url, token="first")))
        monkeypatch.setattr(yaml, "safe_load", lambda _: pytest.fail("parsed"))
        for _ in range(3):
            client.get("/version")


# Kubeconfigs of several files.


def test_sections_may_be_in_different_files_and_are_all_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "token").write_text("first")
    with serving("first", "second") as server:
        whole = kubeconfig(server.url, tokenFile="token")
        write(tmp_path / "users" / "config", {"users": whole.pop("users"), "current-context": "of nobody"})
        write(tmp_path / "config", whole)
        paths = (tmp_path / "config", tmp_path / "missing", tmp_path / "users" / "config")
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, paths)))
        client = client_for(Access())
        client.get("/version")
        write(tmp_path / "users" / "token", "second")
        client.get("/version")
        assert server.seen == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "current-context is not set"),
        ("[1]", "Expected `object`, got `array`"),
        ("a: [", "not valid YAML in line 1"),
        ("\x00", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ({"current-context": "x"}, "context 'x', the current one, does not exist"),
        ({**kubeconfig("http://a"), "users": None}, "user 'u' of context 'x' does not exist"),
        ({**kubeconfig("http://a"), "clusters": []}, "cluster 'c' of context 'x' does not exist"),
        (kubeconfig(), "the current context's cluster has no server"),
        (kubeconfig("ftp://a"), "must be an http:// or https:// URL"),
        (kubeconfig("https://"), "must be an http:// or https:// URL"),
        (kubeconfig("https://a:b"), "must be an http:// or https:// URL"),
        (kubeconfig("http://a", token=5), "Expected `str | null`, got `int`"),
        (kubeconfig("http://a", **{"auth-provider": {"name": "gcp"}}), "use a credential plugin (exec)"),
        (kubeconfig("http://a", **{"auth-provider": {"name": "oidc"}}), "ID token is missing or expired"),
    ],
)
def test_a_kubeconfig_that_is_no_good_is_one_sentence(content: Any, sentence: str, tmp_path: Path) -> None:
    assert sentence in refusal_of(write(tmp_path / "config", content))


def test_no_kubeconfig_at_all_is_one_sentence() -> None:
    with pytest.raises(Misconfigured, match=r"no --kubeconfig, no service account, and ~/\.kube/config"):
        Access().load()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4"])
def test_a_socks_proxy_is_one_sentence(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    with pytest.raises(Misconfigured, match="must be http:// or https://, not socks"):
        client_of(write(path, kubeconfig("https://a.test", cluster={"proxy-url": f"{scheme}://127.0.0.1:1080"})))
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:1080")
    with pytest.raises(Misconfigured, match="must be http:// or https://, not socks"):
        client_of(write(path, kubeconfig("https://a.test")))
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8")
    client_of(write(path, kubeconfig("https://10.1.2.3")))


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.dates()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
FIELDS = st.sampled_from([
    "server", "certificate-authority", "certificate-authority-data", "client-certificate-data", "client-key-data",
    "token", "tokenFile", "username", "password", "exec", "auth-provider", "proxy-url", "tls-server-name",
])  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(
    cluster=st.dictionaries(FIELDS, VALUES, max_size=3),
    user=st.dictionaries(FIELDS, VALUES, max_size=3),
    top=st.dictionaries(st.sampled_from(["clusters", "users", "contexts", "current-context"]), VALUES, max_size=1),
)
def test_any_kubeconfig_is_loaded_or_refused_in_one_sentence(
    cluster: dict[str, Any], user: dict[str, Any], top: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "config"
        path.write_text(yaml.safe_dump({**kubeconfig("https://a.test", cluster=cluster, **user), **top}))
        try:
            KubeClient(Access(kubeconfig=str(path)).load())
        except Misconfigured as error:
            sentence = str(error)
        else:
            sentence = ""
    assert "\n" not in sentence


# The service account of a pod.


@pytest.fixture
def in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: Authority) -> Path:
    """The service account's token."""
    monkeypatch.setattr(config, "SERVICE_TOKEN", tmp_path / "token")
    monkeypatch.setattr(config, "SERVICE_AUTHORITY", tmp_path / "ca.crt")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    (tmp_path / "ca.crt").write_bytes(authority.certificate_pem)
    (tmp_path / "token").write_text("first\n")
    return tmp_path / "token"


def test_the_service_accounts_token_is_followed(
    in_a_pod: Path, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = tls(authority, tmp_path)
    context.verify_mode = ssl.CERT_NONE
    with serving("first", context=context) as server:
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.url.rpartition(":")[2])
        client = client_for(Access())
        client.get("/version")
        server.tokens = {"second"}
        write(in_a_pod, "second\n")
        wait_until(lambda: answers(client))
        assert len(server.open) == 1  # a token is no reason to connect anew


@pytest.mark.usefixtures("in_a_pod")
def test_an_ipv6_address_of_the_api_server_is_put_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    assert Access().load().address.host == "https://[fd00::1]:6443"


@pytest.mark.parametrize("name", ["token", "ca.crt"])
def test_an_empty_file_of_a_service_account_is_one_sentence(in_a_pod: Path, name: str) -> None:
    (in_a_pod.parent / name).write_text("")
    with pytest.raises(Misconfigured, match=f"service account: .*{name} is empty"):
        Access().load()


# Credential plugins.


class Plugin:
    """A program with a given output, and a count of its runs."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "plugin"
        self.runs_log = directory / "runs"
        self.runs_log.write_text("")
        self.says()

    def says(self, *lines: str, **status: Any) -> None:
        """What it is from now on: shell, then its output."""
        printed = json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})
        script = ["#!/bin/sh", f"echo run >> {self.runs_log}", *lines, f"printf '%s' '{printed}'", ""]
        write(self.path, "\n".join(script))
        self.path.chmod(0o755)

    @property
    def runs(self) -> int:
        return len(self.runs_log.read_text().splitlines())

    def user(self, **exec_: Any) -> dict[str, Any]:
        return {"exec": {"apiVersion": V1, "command": "./plugin", "interactiveMode": "Never", **exec_}}


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


def test_a_plugins_token_is_shown(plugin: Plugin, tmp_path: Path) -> None:
    plugin.says(token="first")
    with serving("first") as server:
        client = client_of(write(tmp_path / "config", kubeconfig(server.url, **plugin.user())))
        for _ in range(3):
            client.get("/version")
    assert plugin.runs == 1


def test_a_plugins_certificate_is_shown(plugin: Plugin, tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.client("admin")
    plugin.says(clientCertificateData=certificate.decode(), clientKeyData=key.decode())
    trusted = {"certificate-authority-data": in_base64(authority.certificate_pem)}
    with serving(context=tls(authority, tmp_path)) as server:
        content = kubeconfig(server.url, cluster=trusted, **plugin.user())
        client_of(write(tmp_path / "config", content)).get("/version")


def test_a_plugin_gets_cluster_info_and_no_terminal(plugin: Plugin, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    plugin.says(
        f'printf "%s" "$KUBERNETES_EXEC_INFO" > {seen}', '[ "$COLOUR" = red ] && ! read line || exit 1', token="t"
    )
    cluster = {
        "tls-server-name": "api.test",
        "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "me"}}],
    }
    user = plugin.user(provideClusterInfo=True, env=[{"name": "COLOUR", "value": "red"}])
    Access(kubeconfig=str(write(tmp_path / "config", kubeconfig("http://127.0.0.1:1", cluster=cluster, **user)))).load()
    assert json.loads(seen.read_text()) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {
                "server": "http://127.0.0.1:1",
                "tls-server-name": "api.test",
                "config": {"audience": "me"},
            },
        },
    }


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("lines", "exec_", "sentence"),
    [
        ([], {"command": "no-such-plugin"}, "'no-such-plugin': it can't be started: No such file or directory"),
        ([], {"command": "./no-such-plugin", "installHint": "get it there\n"}, "(get it there)"),
        (["echo no login >&2; echo second >&2; exit 3"], {}, "'./plugin': it ended with status 3: second"),
        (["exit 3"], {}, "'./plugin': it ended with status 3"),
        ([f"echo {SECRET}; exit 0"], {}, "what it printed is no ExecCredential"),
        (["kill -9 $$"], {}, "it ended with status -9"),
        ([], {}, "it gave neither a token nor a client certificate with its key"),
        ([], {"apiVersion": "client.authentication.k8s.io/v1beta1"}, "it must print an ExecCredential of client"),
        ([], {"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "its apiVersion must be one of"),
        ([], {"interactiveMode": "Always"}, "it needs a terminal"),
    ],
)
def test_a_plugin_without_credentials_fails_the_start_with_its_name(
    lines: list[str], exec_: dict[str, Any], sentence: str, plugin: Plugin, tmp_path: Path
) -> None:
    plugin.says(*lines)
    said = refusal_of(write(tmp_path / "config", kubeconfig("http://127.0.0.1:1", **plugin.user(**exec_))))
    assert sentence in said
    assert "credential plugin" in said
    assert SECRET not in said


def test_a_plugin_that_hangs_is_killed_with_all_that_it_started(
    plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_plugin, "PLUGIN_SECONDS", 0.3)
    child = tmp_path / "child"
    plugin.says(f"sleep 600 & echo $! > {child}", "wait")
    said = refusal_of(write(tmp_path / "config", kubeconfig("http://127.0.0.1:1", **plugin.user())))
    assert "'./plugin': it did not end within 0.3 seconds" in said
    wait_until(lambda: not _is_running(int(child.read_text())))


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_plugin_that_fails_at_a_refresh_leaves_no_anonymous_client(plugin: Plugin, tmp_path: Path) -> None:
    plugin.says(token="first")
    with serving("first") as server, structlog.testing.capture_logs() as logs:
        client = client_of(write(tmp_path / "config", kubeconfig(server.url, **plugin.user())))
        client.get("/version")
        server.tokens = {"second"}
        plugin.says("echo login has expired >&2; exit 1")
        with pytest.raises(Unauthorized):
            client.get("/version")
        wait_until(lambda: not answers(client) and plugin.runs >= 3)
        plugin.says(token="second")
        wait_until(lambda: answers(client))
    assert set(server.seen) == {"Bearer first", "Bearer second"}
    said = [line for line in logs if line["log_level"] == "warning"]
    assert len(said) == 1
    assert "./plugin" in said[0]["why"]
    assert "login has expired" in said[0]["why"]


def test_a_token_is_refreshed_before_it_expires(
    plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_LEAST_LIFE_SECONDS", 0.1)
    soon = (datetime.now(UTC) + timedelta(seconds=0.1)).isoformat().replace("+00:00", "Z")
    plugin.says(token="first", expirationTimestamp=soon)
    with serving("first", "second") as server:
        client = client_of(write(tmp_path / "config", kubeconfig(server.url, **plugin.user())))
        client.get("/version")
        plugin.says(token="second", expirationTimestamp="2999-01-01T00:00:00Z")
        wait_until(lambda: answers(client) and server.seen[-1] == "Bearer second")
        client.get("/version")
    assert plugin.runs == 2


def test_requests_do_not_wait_for_a_plugin_which_is_run_once(plugin: Plugin, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    plugin.says(token="first")
    with serving("first", "second") as server:
        path = write(tmp_path / "config", kubeconfig(server.url, **plugin.user()))
        client = client_of(path)
        plugin.says(f"read line < {tmp_path / 'fifo'}", token="second")
        write(path, kubeconfig(server.url, **plugin.user(args=["again"])))
        threads = [threading.Thread(target=client.get, args=("/version",), daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert server.seen == ["Bearer first"] * 8  # all were answered, and the plugin has not
        client.get("/version")
        assert plugin.runs == 2
        (tmp_path / "fifo").write_text("go on\n")
        wait_until(lambda: answers(client) and server.seen[-1] == "Bearer second")
    assert plugin.runs == 2


# OpenID Connect.


class IdentityProvider(ThreadingHTTPServer):
    """Accepts each refresh token once, and returns the next one with an ID token."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ProviderHandler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.refresh_token, self.given = "refresh-0", 0
        self.life = 3600.0


class _ProviderHandler(BaseHTTPRequestHandler):
    server: IdentityProvider

    def do_GET(self) -> None:
        self._say(200, {"token_endpoint": f"{self.server.url}/token"})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if form != {
            "grant_type": ["refresh_token"],
            "refresh_token": [self.server.refresh_token],
            "client_id": ["me"],
            "client_secret": ["secret"],
        }:
            self._say(400, {"error": "invalid_grant"})
            return
        self.server.given += 1
        self.server.refresh_token = f"refresh-{self.server.given}"
        token = id_token(self.server.given, self.server.life)
        self._say(200, {"id_token": token, "refresh_token": self.server.refresh_token})

    def _say(self, code: int, body: Any) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


def id_token(number: int, life: float) -> str:
    parts = ({"alg": "none"}, {"number": number, "exp": int(time.time() + life)})
    return ".".join(
        [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts] + ["x"]
    )


@pytest.fixture
def identity_provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def oidc(issuer: str, token: str) -> dict[str, Any]:
    about = {"client-id": "me", "client-secret": "secret", "idp-issuer-url": issuer, "refresh-token": "refresh-0"}
    return {"auth-provider": {"name": "oidc", "config": {**about, "id-token": token}}}


def test_an_expired_id_token_is_refreshed_and_the_kubeconfig_stays_as_it_is(
    identity_provider: IdentityProvider, tmp_path: Path
) -> None:
    path = write(tmp_path / "config", kubeconfig("http://127.0.0.1:1", **oidc(identity_provider.url, id_token(0, -5))))
    path.chmod(0o400)
    before = path.read_bytes()
    access = Access(kubeconfig=str(path))
    first, again = access.load(), access.load()
    assert first.authorization == again.authorization == f"Bearer {id_token(1, 3600)}"
    assert identity_provider.given == 1
    assert path.read_bytes() == before


def test_each_refresh_token_is_used_once(identity_provider: IdentityProvider, tmp_path: Path) -> None:
    identity_provider.life = 5.0  # too short to be used twice
    path = write(tmp_path / "config", kubeconfig("http://127.0.0.1:1", **oidc(identity_provider.url, "")))
    access = Access(kubeconfig=str(path))
    for _ in range(3):
        access.load()
    assert identity_provider.given == 3


def test_an_id_token_that_is_valid_is_used_as_it_is(identity_provider: IdentityProvider, tmp_path: Path) -> None:
    token = id_token(0, 3600)
    path = write(tmp_path / "config", kubeconfig("http://127.0.0.1:1", **oidc(identity_provider.url, token)))
    assert Access(kubeconfig=str(path)).load().authorization == f"Bearer {token}"
    assert identity_provider.given == 0


def test_a_refresh_token_that_is_refused_is_one_sentence(identity_provider: IdentityProvider, tmp_path: Path) -> None:
    identity_provider.refresh_token = "another"
    path = write(tmp_path / "config", kubeconfig("http://127.0.0.1:1", **oidc(identity_provider.url, "")))
    assert "refuses to refresh the token (HTTP status 400)" in refusal_of(path)
