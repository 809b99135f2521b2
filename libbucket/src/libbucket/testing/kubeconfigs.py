"""Kubeconfig files: written for a test's own control plane, or extracted from an existing file for one context.

Certificates and keys go into files beside the kubeconfig, not into it: the Python client would write them into
temporary files of its own, and leave those behind when it is killed.

Used by `controlplane`. Knows the file format; makes no request.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from libbucket.testing.problems import SetupFailed

_PATH_KEYS: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_DATA: Final = "-data"


@dataclass(frozen=True, kw_only=True)
class User:
    """How a user authenticates: a bearer token, or a certificate with its key (PEM)."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""

    def as_entry(self) -> dict[str, str]:
        """The user as a kubeconfig spells it."""
        if self.token:
            return {"token": self.token}
        return {"client-certificate-data": _base64(self.certificate), "client-key-data": _base64(self.key)}


def write_kubeconfig(path: Path, *, url: str, ca: bytes, user: User, namespace: str = "default") -> Path:
    """Writes a kubeconfig with one cluster, one user and one context, readable by its owner only."""
    cluster = {"server": url, "certificate-authority-data": _base64(ca)}
    context = {"cluster": "test", "user": "test", "namespace": namespace}
    return _write(path, cluster, user.as_entry(), context)


def cut_out(source: Path, context: str, target: Path) -> Path:
    """Writes a kubeconfig that has one context of another file and nothing else.

    Raises:
        SetupFailed: the file can't be read, or has no such context.
    """
    try:
        whole = yaml.safe_load(source.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise SetupFailed(f"{source} can't be read as a kubeconfig: {error}") from error
    chosen = _entry(whole, "contexts", context, source)["context"]
    cluster = _entry(whole, "clusters", chosen["cluster"], source)["cluster"]
    user = _entry(whole, "users", chosen["user"], source)["user"]
    here = source.resolve().parent
    names = {**chosen, "cluster": "test", "user": "test"}
    return _write(target, _absolute(cluster, here), _absolute(user, here), names)


def cluster_of(kubeconfig: Path) -> tuple[str, bytes]:
    """Address and authority of a file that `write_kubeconfig` or `cut_out` wrote."""
    cluster = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
    authority = cluster.get("certificate-authority")
    return cluster["server"], Path(authority).read_bytes() if authority else b""


def _entry(whole: dict[str, Any], kind: str, name: str, source: Path) -> dict[str, Any]:
    found: list[dict[str, Any]] = whole.get(kind) or []
    for each in found:
        if each["name"] == name:
            return each
    known = ", ".join(sorted(each["name"] for each in found)) or "none"
    raise SetupFailed(f"{source} has no {kind[:-1]} {name!r}; it has: {known}")


def _absolute(entry: dict[str, Any], base: Path) -> dict[str, Any]:
    return {key: str(base / value) if key in _PATH_KEYS else value for key, value in entry.items()}


def _write(path: Path, cluster: dict[str, Any], user: dict[str, Any], context: dict[str, Any]) -> Path:
    cluster, user = _with_files(cluster, path), _with_files(user, path)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": context}],
        "current-context": "test",
    }
    return _write_private(path, yaml.safe_dump(content, sort_keys=False).encode())


def _with_files(entry: dict[str, Any], kubeconfig: Path) -> dict[str, Any]:
    """The entry with a file in place of everything that it holds as data."""
    result = dict(entry)
    for key in [key for key in entry if key.endswith(_DATA) and entry[key]]:
        name = key.removesuffix(_DATA)
        content = base64.b64decode(result.pop(key))
        result[name] = str(_write_private(kubeconfig.with_name(f"{kubeconfig.name}.{name}"), content))
    return result


def _write_private(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
