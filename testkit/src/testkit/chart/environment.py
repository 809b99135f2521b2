"""What the tests of the chart share: helm and kubectl as programs, and a provisioner run from a manifest.

The pod that a Deployment would make is a process here: the same flags, the same environment, the token that the API
server issued for the same service account. tests/e2e does the same with the images.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from chart.helm_chart import BACKENDS, CHART, REGISTRY, ROOT, ChartRefused, Manifest, one, render
from libbucket.testing.binaries import helm_binary, kubectl_binary
from libbucket.testing.provisioner_process import ProvisionerProcess, provisioner_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libbucket.testing.controlplane import Cluster

__all__ = ["BACKENDS", "CHART", "REGISTRY", "ROOT", "ChartRefused", "Manifest", "one", "render"]

_SECONDS = 120


class Refused(Exception):
    """A program ended with another code than 0; the text is what it wrote to standard error."""


def a_release(backend: str = "minio", **values: Any) -> dict[str, Any]:
    """The values of a release that has all it needs."""
    return {"backend": backend, "image": {"registry": REGISTRY}, **values}


class Tools:
    """helm and kubectl, with an administrator's permissions and no files in a home directory.

    Args:
        kubeconfig: of the administrator.
        home: where they may write.
    """

    def __init__(self, kubeconfig: Path, home: Path) -> None:
        writes = ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "KUBECACHEDIR")
        self.environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            **{name: str(home / name.lower()) for name in writes},
        }

    def helm(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Runs helm, with values if there are some.

        Raises:
            Refused: it failed.
        """
        given = [] if values is None else ["--values", "-"]
        return self._run([str(helm_binary()), *arguments, *given], yaml.safe_dump(dict(values or {})))

    def kubectl(self, *arguments: str, manifests: list[Manifest] | None = None) -> str:
        """Runs kubectl, with manifests on its standard input if there are some.

        Raises:
            Refused: it failed.
        """
        return self._run([str(kubectl_binary()), *arguments], yaml.safe_dump_all(manifests or []))

    def shell(self, line: str, directory: Path) -> str:
        """Runs a line of a page as its reader would.

        Raises:
            Refused: it failed.
        """
        paths = [str(helm_binary().parent), str(kubectl_binary().parent), os.environ["PATH"]]
        return self._run(["bash", "-c", line], "", cwd=directory, PATH=os.pathsep.join(paths))

    def _run(self, command: list[str], given: str, cwd: Path = ROOT, **environment: str) -> str:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            cwd=cwd,
            env={**self.environment, **environment},
        )
        if done.returncode != 0:
            raise Refused(done.stderr.strip() or done.stdout.strip())
        return done.stdout


def flags_of(deployment: Manifest) -> list[str]:
    """The arguments of its container."""
    flags: list[str] = _container(deployment)["args"]
    return flags


def environment_of(deployment: Manifest) -> dict[str, str]:
    """The environment of its container, as the kubelet would fill it in."""
    filled = {"metadata.namespace": deployment["metadata"]["namespace"]}
    return {
        variable["name"]: variable["value"]
        if "value" in variable
        else filled[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        for variable in _container(deployment).get("env", [])
    }


def pod_of(deployment: Manifest, namespace: str) -> Manifest:
    """A pod as the Deployment would make it."""
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "rendered", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@contextmanager
def rendered_provisioner(cluster: Cluster, deployment: Manifest, *, ready: bool = True) -> Iterator[ProvisionerProcess]:
    """Runs the provisioner of this environment as its Deployment specifies, until the block ends."""
    program = deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    kubeconfig = cluster.service_account_kubeconfig(deployment["metadata"]["namespace"], account)
    with provisioner_process(
        [Path(sys.executable).with_name(program), *flags_of(deployment)],
        kubeconfig=kubeconfig,
        name=program,
        environment=environment_of(deployment),
        ready=ready,
    ) as process:
        yield process


def _container(deployment: Manifest) -> Manifest:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found: Manifest = container
    return found
