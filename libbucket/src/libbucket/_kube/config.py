"""Finds the way to the cluster: flags, the pod's service account, `$KUBECONFIG`, the default kubeconfig.

And tells when it has changed: tokens, authorities and whole kubeconfigs are replaced under a process that runs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_kube_config
from kubernetes.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_TOKEN_FILENAME,
    load_incluster_config,
)
from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION

from libbucket._kube.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

_FILES: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


@dataclass(frozen=True, kw_only=True)
class Access:
    """The way to the cluster, as it is described outside of this process.

    Attributes:
        kubeconfig: path of a kubeconfig file; "" looks at the pod, then `$KUBECONFIG`, then the default file.
        master: URL of the API server, overriding the one in the kubeconfig.
    """

    kubeconfig: str = ""
    master: str = ""

    def load(self) -> Configuration:
        """As `load_configuration`."""
        return load_configuration(kubeconfig=self.kubeconfig, master=self.master)

    def stamp(self) -> Hashable:
        """Another value as soon as one of the files is another one."""
        return tuple((str(path), _version_of(path)) for path in self._files())

    def _files(self) -> Iterator[Path]:
        if not self.kubeconfig and not self.master and _runs_in_pod():
            yield from (Path(SERVICE_TOKEN_FILENAME), Path(SERVICE_CERT_FILENAME))
        elif self.kubeconfig or not self.master:
            for name in (self.kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION).split(os.pathsep):
                path = Path(name).expanduser()
                yield path
                yield from _files_named_in(path)


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


def _files_named_in(kubeconfig: Path) -> list[Path]:
    try:
        whole: Any = yaml.safe_load(kubeconfig.read_text())
        entries = [each["cluster"] for each in whole["clusters"]] + [each["user"] for each in whole["users"]]
        return [kubeconfig.parent / each[key] for each in entries for key in _FILES if each.get(key)]
    except (OSError, yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError):
        return []  # whoever loads it says so


def _version_of(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
