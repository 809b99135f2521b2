"""A Kubernetes API server to test against: one of our own for the length of a block, or a cluster that exists.

    with control_plane(crds=[Path("crds")]) as cluster:
        subprocess.run(["kubectl", "--kubeconfig", cluster.kubeconfig, "get", "obc", "-A"])

The real etcd, kube-apiserver and kube-controller-manager (see `binaries`), on 127.0.0.1, on free ports, in a fresh
directory; nothing is left at the end. There are no nodes: pods can be created, but nothing runs them.
"""

from __future__ import annotations

import base64
import secrets
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from libbucket.testing.admin import KubeAdmin
from libbucket.testing.binaries import ControlPlaneBinaries, control_plane_binaries
from libbucket.testing.certificates import Authority, write_signing_key
from libbucket.testing.kubeconfigs import User, cluster_of, cut_out, write_kubeconfig
from libbucket.testing.problems import SetupFailed
from libbucket.testing.processes import HOST, Program, RunningProcess, free_ports, fresh_directory, http_ready, start
from libbucket.testing.progress import console, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_READY_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 2.0  # it holds nothing that has to be saved
_TOKEN_SECONDS: Final = 86400
_ADMINS: Final = "system:masters"
_CONTROLLERS: Final = "namespace-controller,garbage-collector-controller"
_AUDIT_POLICY: Final = """\
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
  # With their content, so that the log also says who held a Lease when.
  - {level: RequestResponse, verbs: [create, update, patch], resources: [{group: coordination.k8s.io}]}
  - {level: Metadata}
"""


class Cluster:
    """A cluster that tests use: what our own control plane and an existing cluster have in common.

    Args:
        directory: where kubeconfigs are written.
        kubeconfig: with an administrator's permissions.

    Attributes:
        admin: reads and writes the cluster with these permissions.
        url: address of the API server.
        ca_path: the authority that signed its certificate.
    """

    def __init__(self, *, directory: Path, kubeconfig: Path) -> None:
        self.directory = directory
        self.kubeconfig = kubeconfig
        self.url, authority = cluster_of(kubeconfig)
        self.ca_path = directory / "ca.crt"
        self.ca_path.write_bytes(authority)  # empty where the system's own authorities are trusted
        self.admin = KubeAdmin(kubeconfig)

    def install_crds(self, directory: Path) -> None:
        """Applies all CRDs of a directory and waits until they can be used.

        Raises:
            SetupFailed: there are none, or one was not established in time.
        """
        with waiting("waiting for the CRDs to be established"):
            self.admin.install_crds(directory)

    def service_account_kubeconfig(self, namespace: str, name: str, *, seconds: int = _TOKEN_SECONDS) -> Path:
        """A kubeconfig with a token of an existing service account, as a pod of that account would have it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.admin.create(path, {"spec": {"expirationSeconds": seconds}})
        return self.token_kubeconfig(answer["status"]["token"], namespace=namespace)

    def token_kubeconfig(self, token: str, *, namespace: str = "default") -> Path:
        """A kubeconfig with any bearer token, which may well be one that the API server refuses."""
        return self._write_kubeconfig(User(token=token), namespace)

    def metrics(self) -> str:
        """The text of the API server's `/metrics`."""
        return self.admin.text("/metrics")

    def metric_total(self, name: str, **labels: str) -> float:
        """Sum over the samples of a metric that have these labels: requests, by verb and resource."""
        lines = [line for line in self.metrics().splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        families = text_string_to_metric_families("\n".join(lines) + "\n")
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(each.value for each in samples if labels.items() <= each.labels.items())

    def _write_kubeconfig(self, user: User, namespace: str = "default") -> Path:
        path = self.directory / f"kubeconfig-{secrets.token_hex(4)}"
        return write_kubeconfig(path, url=self.url, ca=self.ca_path.read_bytes(), user=user, namespace=namespace)


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """Everything that the command lines are made of."""

    binaries: ControlPlaneBinaries
    directory: Path
    authority: Authority
    etcd_ports: tuple[int, int]
    port: int
    audit_log: bool
    controllers: bool
    admission_plugins: Sequence[str]

    @property
    def etcd_url(self) -> str:
        return f"http://{HOST}:{self.etcd_ports[0]}"

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"


class ControlPlane(Cluster):
    """Our own control plane, running. `control_plane` makes and ends it.

    Attributes:
        audit_log: one JSON object per request, if that was asked for.
    """

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings
        certificate, key = settings.authority.client("admin", [_ADMINS])
        user = User(certificate=certificate, key=key)
        ca = settings.authority.certificate_pem
        path = settings.directory / "kubeconfig"
        super().__init__(
            directory=settings.directory, kubeconfig=write_kubeconfig(path, url=settings.url, ca=ca, user=user)
        )
        self.audit_log = settings.directory / "audit.log"
        self._probe_token = _write_serving_files(settings)
        self._etcd: RunningProcess | None = None
        self._api_server: RunningProcess | None = None
        self._manager: RunningProcess | None = None

    def user_kubeconfig(self, name: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig of a user of that name, with the permissions that RBAC grants, and no others."""
        certificate, key = self._settings.authority.client(name, groups)
        return self._write_kubeconfig(User(certificate=certificate, key=key))

    @property
    def pids(self) -> list[int]:
        """Process ids of etcd and the API server, as far as they run."""
        return [each.pid for each in (self._etcd, self._api_server) if each is not None]

    def install_crds(self, directory: Path) -> None:
        """As for every cluster; the garbage collector learns of the new kinds at once, not after half a minute."""
        super().install_crds(directory)
        if self._manager is not None:
            self._stop_manager()
            self._start_manager()

    def start_api_server(self) -> None:
        """Starts the API server and waits until it is ready."""
        self._launch_api_server()
        self._wait_ready()

    def stop_api_server(self) -> None:
        """Stops the API server; what is stored stays."""
        if self._api_server is not None:
            self._api_server.stop(_STOP_SECONDS)
        self._api_server = None

    def kill_api_server(self) -> None:
        """SIGKILL to the API server: its clients' connections break; `start_api_server` brings it back."""
        if self._api_server is not None:
            self._api_server.kill()
        self._api_server = None

    def kill_etcd(self) -> None:
        """SIGKILL to etcd: the API server keeps running without a database."""
        if self._etcd is not None:
            self._etcd.kill()
        self._etcd = None

    def start_etcd(self) -> None:
        """Starts etcd again, with what it stored, and waits until the API server can use it."""
        self._etcd = start(_etcd(self._settings))
        self._wait_ready()

    def compact(self) -> None:
        """Has etcd forget every version of every object but the last: older watches can't go on."""
        url = f"{self._settings.etcd_url}/v3/kv"
        with urllib3.PoolManager(retries=False, timeout=10.0) as pool:
            found = pool.request("POST", f"{url}/range", json={"key": base64.b64encode(b"/").decode()}).json()
            revision = {"revision": found["header"]["revision"], "physical": True}
            assert pool.request("POST", f"{url}/compaction", json=revision).status == 200

    def restart_api_server(self) -> None:
        """Stops and starts the API server, at the same address, with the same certificates and keys."""
        self.stop_api_server()
        self.start_api_server()

    def _start(self, crds: Sequence[Path]) -> None:
        # Together: the API server needs most of its time for itself, and waits for etcd where it has to.
        self._etcd = start(_etcd(self._settings))
        self.start_api_server()
        for directory in crds:
            super().install_crds(directory)
        if self._settings.controllers:
            self._start_manager()

    def _launch_api_server(self) -> None:
        self._api_server = start(_api_server(self._settings))

    def _wait_ready(self) -> None:
        assert self._api_server is not None
        # Ready includes the roles and the system's namespaces, not the one that most tests use.
        ready = http_ready(f"{self.url}/readyz", ca_path=self.ca_path, token=self._probe_token)
        usable = http_ready(f"{self.url}/api/v1/namespaces/default", ca_path=self.ca_path, token=self._probe_token)
        with waiting("waiting for the Kubernetes API server"):
            self._api_server.wait_ready(lambda: ready() and usable(), timeout=_READY_SECONDS)

    def _start_manager(self) -> None:
        binary = self._settings.binaries.controller_manager
        if binary is None:
            console.print(
                "no kube-controller-manager there: nothing collects garbage or empties namespaces", markup=False
            )
            return
        self._manager = start(_controller_manager(self._settings, binary, self.kubeconfig))

    def _stop_manager(self) -> None:
        if self._manager is not None:
            self._manager.kill()
        self._manager = None

    def _end(self) -> None:
        """Ends all that runs: together, since nothing has to be saved."""
        for process in (self._manager, self._api_server, self._etcd):
            if process is not None:
                process.kill()
        self.admin.close()


@contextmanager
def control_plane(
    *,
    crds: Sequence[Path] = (),
    controllers: bool = True,
    audit_log: bool = False,
    admission_plugins: Sequence[str] = (),
) -> Iterator[ControlPlane]:
    """Runs a control plane of our own for the length of the block.

    Args:
        crds: directories with CRDs to install.
        controllers: whether to run the garbage collector and the namespace controller; without them a downloaded
            control plane is enough, see `control_plane_binaries`.
        audit_log: whether to write every request into `ControlPlane.audit_log`.
        admission_plugins: of the API server's, those that are on besides its own choice.

    Raises:
        SetupFailed: its programs can't be had or don't start.
    """
    binaries = control_plane_binaries(needs_controller_manager=controllers)
    with fresh_directory() as directory:
        client, peer, port = free_ports(3)
        settings = _Settings(
            binaries=binaries,
            directory=directory,
            authority=Authority(),
            etcd_ports=(client, peer),
            port=port,
            audit_log=audit_log,
            controllers=controllers,
            admission_plugins=admission_plugins,
        )
        cluster = ControlPlane(settings)
        try:
            cluster._start(crds)  # noqa: SLF001 - the two make one unit; users of the class must not start it
            yield cluster
        finally:
            cluster._end()  # noqa: SLF001


@contextmanager
def existing_cluster(kubeconfig: Path, context: str, *, crds: Sequence[Path] = ()) -> Iterator[Cluster]:
    """An existing cluster; it is left as it is, with the CRDs.

    Args:
        kubeconfig: the file.
        context: which of its contexts; there is no default, so that it is never the current one by accident.
        crds: directories with CRDs to install.

    Raises:
        SetupFailed: the file has no such context, or the CRDs can't be used.
    """
    with fresh_directory() as directory:
        cluster = Cluster(directory=directory, kubeconfig=cut_out(kubeconfig, context, directory / "kubeconfig"))
        for each in crds:
            cluster.install_crds(each)
        try:
            yield cluster
        finally:
            cluster.admin.close()


def _write_serving_files(settings: _Settings) -> str:
    """Writes what the API server reads at start; gives the token with which its readiness is asked."""
    certificate, key = settings.authority.server(addresses=[HOST])
    directory = settings.directory
    (directory / "server.crt").write_bytes(certificate)
    (directory / "server.key").write_bytes(key)
    (directory / "audit-policy.yaml").write_text(_AUDIT_POLICY)
    write_signing_key(directory)
    token = secrets.token_hex(16)
    (directory / "tokens.csv").write_text(f'{token},readiness-probe,readiness-probe,"{_ADMINS}"\n')
    return token


def _etcd(settings: _Settings) -> Program:
    peer_url = f"http://{HOST}:{settings.etcd_ports[1]}"
    flags: dict[str, object] = {
        "name": "test",
        "data-dir": settings.directory / "etcd",
        "listen-client-urls": settings.etcd_url,
        "advertise-client-urls": settings.etcd_url,
        "listen-peer-urls": peer_url,
        "initial-advertise-peer-urls": peer_url,
        "initial-cluster": f"test={peer_url}",
        "log-level": "warn",
    }
    command = [str(settings.binaries.etcd), "--unsafe-no-fsync", *_as_flags(flags)]
    return Program(name="etcd", command=command, directory=settings.directory)


def _api_server(settings: _Settings) -> Program:
    directory = settings.directory
    flags: dict[str, object] = {
        "etcd-servers": settings.etcd_url,
        "bind-address": HOST,
        "advertise-address": HOST,
        "secure-port": settings.port,
        "cert-dir": directory,
        "tls-cert-file": directory / "server.crt",
        "tls-private-key-file": directory / "server.key",
        "client-ca-file": directory / "ca.crt",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": directory / "service-account.pub",
        "service-account-signing-key-file": directory / "service-account.key",
        "token-auth-file": directory / "tokens.csv",
        "authorization-mode": "RBAC",
        "service-cluster-ip-range": "10.0.0.0/24",
        "endpoint-reconciler-type": "none",
        # Nothing makes the default service account, without which this plugin lets no pod in.
        "disable-admission-plugins": "ServiceAccount",
    }
    if settings.admission_plugins:
        flags |= {"enable-admission-plugins": ",".join(settings.admission_plugins)}
    if settings.audit_log:
        flags |= {"audit-log-path": directory / "audit.log", "audit-policy-file": directory / "audit-policy.yaml"}
    command = [str(settings.binaries.api_server), *_as_flags(flags)]
    return Program(name="kube-apiserver", command=command, directory=directory)


def _controller_manager(settings: _Settings, binary: Path, kubeconfig: Path) -> Program:
    flags: dict[str, object] = {
        "kubeconfig": kubeconfig,
        "leader-elect": "false",
        "secure-port": 0,
        "controllers": _CONTROLLERS,
    }
    command = [str(binary), *_as_flags(flags)]
    return Program(name="kube-controller-manager", command=command, directory=settings.directory)


def _as_flags(flags: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def main() -> int:
    """Runs a control plane until Ctrl-C, for manual work. Arguments: directories with CRDs."""
    try:
        with control_plane(crds=[Path(each) for each in sys.argv[1:]]) as cluster:
            console.print(f"\nThe control plane runs; Ctrl-C ends it.\n\n  export KUBECONFIG={cluster.kubeconfig}\n")
            signal.pause()
    except SetupFailed as error:
        console.print(f"{error}", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("\nstopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
