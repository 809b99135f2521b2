"""The access to the API server changes while a provisioner runs: its token, the authority, the whole kubeconfig; and
the administrator's credentials at the store are wrong for a while.
"""

from __future__ import annotations

import base64
import secrets
import ssl
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from libbucket.testing.certificates import Authority
from libbucket.testing.processes import HOST, fresh_directory
from testkit.cluster.memory_environment import condition
from testkit.resilience.network_faults import HangingHandshake
from testkit.resilience.proxied_environment import CLUSTER, proxied_environment
from testkit.resilience.proxy import proxy_before
from testkit.resilience.trials import Trial, Violation, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from libbucket.testing.controlplane import ControlPlane
    from testkit.resilience.proxied_environment import ProxiedEnvironment
    from testkit.resilience.proxy import Proxy

_RECOVERY: Final = 240.0
_SLOWLY: Final = 75.0
"""Seconds: refused credentials are for a person to fix; the next reconcile comes within half a minute."""
_HANGS: Final = 40.0
_CONNECTIONS: Final = 80
"""Of five watches in that time, each given up after 5 s, three times at first, and then more and more rarely."""
_TOKEN_CACHE: Final = 11.0
"""Seconds for which the API server goes on taking a token that it has seen."""


@dataclass(kw_only=True)
class Way:
    """The files by which a provisioner finds its cluster.

    Attributes:
        made: the environment.
        directory: of the files: kubeconfig, token, ca.crt.
        proxy: to which they lead, with TLS.
        cluster: behind it.
        stack: ends what is started on the way.
        token: path of the Secret that the token lives and dies with.
    """

    made: ProxiedEnvironment
    directory: Path
    proxy: Proxy
    cluster: ControlPlane
    stack: ExitStack
    token: str = ""

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def write_kubeconfig(self, url: str) -> None:
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority": "ca.crt"}}],
            "users": [{"name": "u", "user": {"tokenFile": "token"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        replace(self.kubeconfig, yaml.safe_dump(content).encode())

    def renew_token(self) -> None:
        """Puts a fresh token in place."""
        inside = f"/api/v1/namespaces/{self.made.namespace}"
        name = f"token-{secrets.token_hex(4)}"
        bound = self.made.admin.create(f"{inside}/secrets", {"metadata": {"name": name}})
        reference = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": bound["metadata"]["uid"]}
        body = {"spec": {"expirationSeconds": 86400, "boundObjectRef": reference}}
        answer = self.made.admin.create(f"{inside}/serviceaccounts/provisioner/token", body)
        replace(self.directory / "token", answer["status"]["token"].encode())
        self.token = f"{inside}/secrets/{name}"

    def trust(self, authority: Authority) -> None:
        """The files say to trust this one, and no other."""
        replace(self.directory / "ca.crt", authority.certificate_pem)


def access_trials(cluster: ControlPlane) -> Iterator[Trial]:
    """All of them."""
    with _way(cluster) as way:
        yield _trial(way, "handshake", "a handshake that hangs times out, and is rarely retried", _hang)
        yield _trial(way, "token", "a new token is used when the old one is revoked", _rotate_token)
        yield _trial(way, "authority", "a new authority is trusted as soon as its file says so", _rotate_authority)
        yield _trial(way, "kubeconfig", "another address is used as soon as the file names it", _move)
        yield _trial(way, "credentials", "claims wait while the store refuses, and none is Failed", _refuse)


def _trial(way: Way, words: str, expected: str, act: Callable[[Way], str]) -> Trial:
    def run() -> str:
        process = way.made.provisioner_process
        try:
            seen = act(way)
            assert process is not None
            assert process.is_running, "the provisioner ended"
        except Exception as error:
            error.add_note("the log ends with:\n  " + "\n  ".join(process.log().splitlines()[-15:] if process else []))
            raise
        return seen

    return Trial(seed=f"outages/access/{words}", expected=expected, run=run)


def _hang(way: Way) -> str:
    before, faults = way.proxy.injector, HangingHandshake()
    way.proxy.injector = faults
    way.proxy.cut()
    name = way.made.new_name()
    way.made.claim(name, way.made.classes["greenfield"], generateBucketName="photos")
    time.sleep(_HANGS)
    way.proxy.injector, connections = before, faults.connections
    faults.over.set()
    began = time.monotonic()
    eventually(lambda: _assert_bound(way.made, name), seconds=_RECOVERY)
    if connections > _CONNECTIONS:
        raise Violation(f"{connections} connections in {_HANGS:.0f} s")
    return f"bound {time.monotonic() - began:.1f} s after its end; {connections} connections"


def _rotate_token(way: Way) -> str:
    old = way.token
    way.renew_token()
    way.made.admin.delete(old)
    time.sleep(_TOKEN_CACHE)
    return f"bound {_bind(way.made):.1f} s after it was made"


def _rotate_authority(way: Way) -> str:
    other = Authority("the next authority")
    way.proxy.tls = serving(other, way.directory)
    way.proxy.cut()
    time.sleep(5)
    way.trust(other)
    return f"bound {_bind(way.made):.1f} s after the file was replaced"


def _move(way: Way) -> str:
    authority = Authority("of another address")
    tls = serving(authority, way.directory)
    moved = way.stack.enter_context(proxy_before("moved", way.cluster.url, ca_path=way.cluster.ca_path, tls=tls))
    way.trust(authority)
    way.write_kubeconfig(moved.url)
    way.proxy.stop()
    return f"bound {_bind(way.made):.1f} s after the file was replaced"


def _refuse(way: Way) -> str:
    made = way.made
    path = f"/api/v1/namespaces/{made.namespace}/secrets/admin"
    right = made.admin.get(path)["data"]
    wrong = {key: base64.b64encode(b"not-the-password").decode() for key in right if "PASSWORD" in key}
    made.admin.patch(path, {"data": wrong})
    name = made.new_name()
    made.claim(name, made.classes["greenfield"], generateBucketName="photos")
    said = made.wait_reason(name, "AccessDenied")
    if said["status"]["phase"] != "Pending":
        raise Violation(f"refused credentials made a claim {said['status']['phase']}")
    made.admin.patch(path, {"data": right})
    began = time.monotonic()
    eventually(lambda: _assert_bound(made, name), seconds=_SLOWLY)
    return f"bound {time.monotonic() - began:.1f} s after they were right again"


def _bind(made: ProxiedEnvironment) -> float:
    """Makes a claim; gives the seconds until it was bound."""
    name, began = made.new_name(), time.monotonic()
    made.claim(name, made.classes["greenfield"], generateBucketName="photos")
    eventually(lambda: _assert_bound(made, name), seconds=_RECOVERY)
    return time.monotonic() - began


def _assert_bound(made: ProxiedEnvironment, name: str) -> None:
    claim = made.admin.find(made.claim_path(name)) or {}
    assert condition(claim).get("status") == "True", f"claim {name} is not bound: {claim.get('status')}"


@contextmanager
def _way(cluster: ControlPlane) -> Iterator[Way]:
    """A provisioner that finds its cluster by files, through a proxy with TLS."""
    authority = Authority("the first authority")
    with fresh_directory("way-") as directory, proxied_environment(cluster, "minio") as made, ExitStack() as stack:
        tls = serving(authority, directory)
        proxy = stack.enter_context(proxy_before(CLUSTER, cluster.url, ca_path=cluster.ca_path, tls=tls))
        way = Way(made=made, directory=directory, proxy=proxy, cluster=cluster, stack=stack)
        way.trust(authority)
        way.renew_token()
        way.write_kubeconfig(proxy.url)
        made.kill()
        made.flags[-1] = "0"
        made.__dict__["kubeconfig"] = way.kubeconfig
        made.start()
        _bind(made)  # at its start, it ends where it can't reach the cluster
        yield way


def serving(authority: Authority, directory: Path) -> ssl.SSLContext:
    """TLS for a server on this machine whose certificate an authority signed."""
    certificate, key = authority.server(addresses=[HOST])
    (directory / "server.crt").write_bytes(certificate)
    (directory / "server.key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    return context


def replace(path: Path, content: bytes) -> None:
    """As a rotation does it: in one step."""
    other = path.with_name(f"{path.name}.new")
    other.write_bytes(content)
    other.replace(path)
