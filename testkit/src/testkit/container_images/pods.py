"""Runs a container as a kubelet runs the container of a pod, with podman or docker.

Supports what the chart's pods say about one container, and fails on any other field instead of ignoring it. Unlike in a
cluster there is one network for all, so each container gets its own address to listen on. Knows no store and no chart.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from libbucket.testing.processes import HOST, Program, free_ports, fresh_directory
from libbucket.testing.provisioner_process import ProvisionerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from images.builders import Builder
    from libbucket.testing.controlplane import Cluster

ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_UNITS: Final = {"Mi": 2**20, "Gi": 2**30}
_ADDRESS: Final = "--bind-address"
# The default limits of containers are higher than some machines allow.
_LIMITS: Final = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container of a pod. The defaults are those of the restricted Pod Security Standard.

    Attributes:
        image: its name.
        arguments: of the entry point.
        environment: its variables.
        mounts: folders or files of this machine by their path in the container, read-only.
        scratch: places that can be written to, with their size in bytes.
        user: user and group.
        read_only: whether the root file system is.
        dropped: capabilities that are dropped.
        privileges: whether a process may gain any.
        memory: limit in bytes; 0 for none.
        entry_point: instead of the image's own.
        network: "host", or "none" for nothing but itself.
    """

    image: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, Path] = field(default_factory=dict)
    scratch: Mapping[str, int] = field(default_factory=dict)
    user: str = "65532:65532"
    read_only: bool = True
    dropped: tuple[str, ...] = ("ALL",)
    privileges: bool = False
    memory: int = 0
    entry_point: str = ""
    network: str = "host"

    def with_account(self, folder: Path, cluster: Cluster) -> Container:
        """The same with the folder of a service account, and with the address of the API server."""
        address = urlsplit(cluster.url)
        where = {"KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}
        return replace(self, environment={**where, **self.environment}, mounts={**self.mounts, ACCOUNT: folder})

    def options(self, builder: Builder) -> list[str]:
        """Arguments for `run`."""
        given = ["--rm", "--network", self.network, "--user", self.user, *_LIMITS]
        given += ["--read-only"] if self.read_only else []
        # podman would mount writable folders, which a kubelet does not.
        given += ["--read-only-tmpfs=false"] if self.read_only and builder.name == "podman" else []
        given += [f"--cap-drop={each}" for each in self.dropped]
        given += [] if self.privileges else ["--security-opt", "no-new-privileges"]
        given += [f"--memory={self.memory}"] if self.memory else []
        given += [f"--entrypoint={self.entry_point}"] if self.entry_point else []
        given += [f"--env={name}={value}" for name, value in self.environment.items()]
        given += [f"--volume={path}:{place}:ro" for place, path in self.mounts.items()]
        given += [f"--tmpfs={place}:rw,mode=1777,size={size}" for place, size in self.scratch.items()]
        return given


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The result of a container that ended by itself."""

    code: int
    output: str

    @property
    def last_line(self) -> str:
        """The last line of its output."""
        return self.output.strip().splitlines()[-1]


def account_folder(folder: Path, cluster: Cluster, token: str, namespace: str) -> Path:
    """What a kubelet mounts for a service account."""
    folder.mkdir()
    (folder / "token").write_text(token)
    (folder / "ca.crt").write_bytes(cluster.ca_path.read_bytes())
    (folder / "namespace").write_text(namespace)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def account_token(cluster: Cluster, namespace: str, name: str) -> str:
    """A token of a service account, as the API server issues it to a kubelet."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    token: str = cluster.admin.create(path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
    return token


def run_to_end(builder: Builder, container: Container, *, timeout: float = 60.0) -> Ended:
    """Runs a container that ends by itself."""
    name = _name()
    command = [*builder.command, "run", "--name", name, *container.options(builder), container.image]
    try:
        done = subprocess.run(
            [*command, *container.arguments],
            check=False,
            text=True,
            timeout=timeout,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    finally:
        _remove(builder, name)
    return Ended(code=done.returncode, output=done.stdout)


@contextmanager
def running_pod(builder: Builder, container: Container, *, ready: bool = True) -> Iterator[ProvisionerProcess]:
    """Runs a provisioner's container until the block ends; a signal to the process goes to the container."""
    name, address = _name(), f"{HOST}:{free_ports(1)[0]}"
    others = [each for each in container.arguments if not each.startswith(_ADDRESS)]
    whole = [*builder.command, "run", "--name", name, *container.options(builder), container.image]
    with fresh_directory() as folder, ExitStack() as stack:
        command: list[str | Path] = [*whole, *others, f"{_ADDRESS}={address}"]
        pod = ProvisionerProcess(Program(name=name, command=command, directory=folder), f"http://{address}")
        stack.callback(_remove, builder, name)
        stack.callback(pod._end)  # after a failure in the block, how it stops does not matter
        pod.start(wait=ready)
        yield pod


def wait_until(is_so: Callable[[], bool], *, seconds: float = 30) -> None:
    """Polls, for conditions that no watch reports, such as a line in a log."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"the condition was not met within {seconds} seconds"
        time.sleep(0.1)


def container_of(pod: Mapping[str, Any], *, namespace: str) -> Container:
    """The container that a pod's `spec` describes.

    Raises:
        AssertionError: it has a field that is not supported.
    """
    spec = _take(pod, "containers", "securityContext", "serviceAccountName", *_ELSEWHERE_POD)
    (first,) = spec["containers"]
    said = _take(first, "name", "image", "args", "env", "resources", "securityContext", *_ELSEWHERE_CONTAINER)
    whole = _take(spec["securityContext"], "runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile")
    own = _take(said["securityContext"], "allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities")
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}  # the default of podman and docker
    assert whole["runAsNonRoot"]
    assert whole["runAsUser"]
    return Container(
        image=said["image"],
        arguments=tuple(said["args"]),
        environment=dict(_variable(each, namespace) for each in said.get("env", ())),
        user=f"{whole['runAsUser']}:{whole['runAsGroup']}",
        read_only=own["readOnlyRootFilesystem"],
        dropped=tuple(own["capabilities"]["drop"]),
        privileges=own["allowPrivilegeEscalation"],
        memory=_bytes(said["resources"]["limits"]["memory"]),
    )


# Fields for schedulers, probes and registries.
_ELSEWHERE_POD: Final = (
    "automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds", "topologySpreadConstraints",
)  # fmt: skip
_ELSEWHERE_CONTAINER: Final = ("imagePullPolicy", "ports", "startupProbe", "livenessProbe", "readinessProbe")


def _take(found: Mapping[str, Any], *known: str) -> Mapping[str, Any]:
    assert set(found) <= set(known), f"not supported: {set(found) - set(known)}"
    return found


def _variable(said: Mapping[str, Any], namespace: str) -> tuple[str, str]:
    if "value" in said:
        return said["name"], said["value"]
    assert said["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    return said["name"], namespace


def _bytes(quantity: str) -> int:
    found = re.fullmatch(r"(\d+)(Mi|Gi)", quantity)
    assert found, quantity
    return int(found[1]) * _UNITS[found[2]]


def _name() -> str:
    return f"libbucket-test-{secrets.token_hex(4)}"


def _remove(builder: Builder, name: str) -> None:
    """Removes a container, even if its client was killed."""
    subprocess.run([*builder.command, "rm", "--force", name], check=False, capture_output=True)
