"""Runs a credential plugin of a kubeconfig (`exec`): with a time limit, without a terminal, never silently.

Under `credentials`. Blocks until the plugin ends, so it runs in no request. The standard output of a plugin is never
shown, because it contains the credentials.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from libbucket._kube.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from libbucket._kube.kubeconfig import Exec

PLUGIN_SECONDS: Final = 30.0
_LAST_BYTES_SECONDS: Final = 1.0
_VERSIONS: Final = frozenset({"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"})
_LONGEST_COMPLAINT: Final = 200


class _Status(msgspec.Struct, rename="camel"):
    token: str | None = None
    expiration_timestamp: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None


class _Credential(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    status: _Status | None = None


@dataclass(frozen=True, kw_only=True)
class PluginCredential:
    """The result of a plugin: a token, or a certificate and its key as PEM, or both.

    Attributes:
        expires_at: seconds since the epoch; None if unknown.
    """

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    expires_at: float | None = None


def run_plugin(plugin: Exec, folder: Path, cluster: Mapping[str, Any] | None) -> PluginCredential:
    """Runs the plugin, and parses its output.

    Args:
        plugin: as in the kubeconfig.
        folder: of the kubeconfig; a relative command with a slash is resolved there.
        cluster: passed to the plugin, if it has `provideClusterInfo`.

    Raises:
        Misconfigured: it cannot be run, failed, took too long, or printed no credentials; the message names it.
    """
    if plugin.api_version not in _VERSIONS:
        raise _failure(plugin, f"its apiVersion must be one of {', '.join(sorted(_VERSIONS))}")
    if plugin.interactive_mode == "Always":
        raise _failure(plugin, "it needs a terminal (interactiveMode: Always), and there is none")
    credential = _parse(plugin, _run(plugin, folder, cluster))
    if not credential.token and not (credential.certificate and credential.key):
        raise _failure(plugin, "it gave neither a token nor a client certificate with its key")
    return credential


def _run(plugin: Exec, folder: Path, cluster: Mapping[str, Any] | None) -> bytes:
    command = str(folder / plugin.command) if os.sep in plugin.command else plugin.command
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own kubeconfig names the program
            [command, *(plugin.args or ())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(plugin, cluster),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        hint = f" ({plugin.install_hint.strip()})" if plugin.install_hint else ""
        raise _failure(plugin, f"it can't be started: {getattr(error, 'strerror', None) or error}{hint}") from error
    output, complaint = _wait_for(process, plugin)
    if process.returncode != 0:
        raise _failure(plugin, f"it ended with status {process.returncode}{_said(complaint)}")
    return output


def _wait_for(process: subprocess.Popen[bytes], plugin: Exec) -> tuple[bytes, bytes]:
    try:
        return process.communicate(timeout=PLUGIN_SECONDS)
    except subprocess.TimeoutExpired as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with all its child processes
        with suppress(subprocess.TimeoutExpired):  # a process that left its session may keep the pipes open
            process.communicate(timeout=_LAST_BYTES_SECONDS)
        raise _failure(plugin, f"it did not end within {PLUGIN_SECONDS:g} seconds") from error


def _environment(plugin: Exec, cluster: Mapping[str, Any] | None) -> dict[str, str]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info and cluster is not None:
        spec["cluster"] = cluster
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    own = {variable.name: variable.value for variable in plugin.env or ()}
    return {**os.environ, **own, "KUBERNETES_EXEC_INFO": msgspec.json.encode(info).decode()}


def _parse(plugin: Exec, output: bytes) -> PluginCredential:
    try:
        printed = msgspec.json.decode(output, type=_Credential)
        status = printed.status or _Status()
        expires = status.expiration_timestamp
        expires_at = datetime.fromisoformat(expires).timestamp() if expires else None
    except (ValueError, OverflowError, RecursionError) as error:
        raise _failure(plugin, "what it printed is no ExecCredential") from error
    if printed.kind != "ExecCredential" or printed.api_version != plugin.api_version:
        raise _failure(plugin, f"it must print an ExecCredential of {plugin.api_version}")
    return PluginCredential(
        token=(status.token or "").strip(),
        certificate=(status.client_certificate_data or "").encode(),
        key=(status.client_key_data or "").encode(),
        expires_at=expires_at,
    )


def _failure(plugin: Exec, what: str) -> Misconfigured:
    return Misconfigured(f"credential plugin {plugin.command!r}: {what}")


def _said(complaint: bytes) -> str:
    lines = [line.strip() for line in complaint.decode(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1][:_LONGEST_COMPLAINT]}" if lines else ""
