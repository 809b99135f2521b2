"""Finds the way to the cluster: flags, the pod's service account, `$KUBECONFIG`, the default kubeconfig."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_kube_config
from kubernetes.config.incluster_config import SERVICE_TOKEN_FILENAME, load_incluster_config

from libbucket._kube.errors import Misconfigured


def load_configuration(*, kubeconfig: str = "", master: str = "") -> Configuration:
    """The `kubernetes` client's configuration.

    Args:
        kubeconfig: path of a kubeconfig file; "" looks at the pod, then `$KUBECONFIG`, then the default file.
        master: URL of the API server, overriding the one in the kubeconfig.

    Returns:
        A configuration that re-reads the pod's token as it rotates.

    Raises:
        Misconfigured: nothing usable was found; the sentence names the file.
    """
    configuration = Configuration()
    try:
        _load(configuration, kubeconfig, master)
    except (ConfigException, OSError, yaml.YAMLError, ValueError, TypeError, KeyError) as error:
        raise Misconfigured(_explain(error, kubeconfig)) from error
    if master:
        configuration.host = master.rstrip("/")
    return configuration


def _load(configuration: Configuration, kubeconfig: str, master: str) -> None:
    if kubeconfig:
        load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    elif master:
        return
    elif _runs_in_pod():
        load_incluster_config(client_configuration=configuration)
    else:
        load_kube_config(client_configuration=configuration)


def _runs_in_pod() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and Path(SERVICE_TOKEN_FILENAME).exists()


def _explain(error: Exception, kubeconfig: str) -> str:
    where = kubeconfig or os.environ.get("KUBECONFIG") or "no --kubeconfig, no service account, and ~/.kube/config"
    brief = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"no way to a cluster: {where}: {brief}"
