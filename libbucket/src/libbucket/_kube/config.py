"""Finds the API server: flags, the pod's service account, `$KUBECONFIG`, the default kubeconfig.

Reads everything into memory, at the start and when `connection` detects that a file has changed or that credentials
expire. May run a credential plugin: no request waits for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

from libbucket._kube.client_config import Address, ClientConfig, FileReader, TlsSettings
from libbucket._kube.credentials import bearer, credentials_of
from libbucket._kube.errors import Misconfigured
from libbucket._kube.kubeconfig import read_current_context
from libbucket._kube.no_proxy import is_exempt
from libbucket._kube.oidc import OidcTokens

if TYPE_CHECKING:
    from libbucket._kube.credentials import Credentials
    from libbucket._kube.kubeconfig import CurrentContext

SERVICE_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
SERVICE_AUTHORITY: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
_DEFAULT_KUBECONFIG: Final = "~/.kube/config"


@dataclass(frozen=True, kw_only=True)
class Access:
    """The sources of the cluster configuration.

    Attributes:
        kubeconfig: path of a kubeconfig file; "" for the service account, then `$KUBECONFIG`, then the default file.
        master: URL of the API server; overrides the kubeconfig.
        tokens: refreshed by an identity provider.
    """

    kubeconfig: str = ""
    master: str = ""
    tokens: OidcTokens = field(default_factory=OidcTokens, repr=False, compare=False)

    def load(self, files: FileReader | None = None) -> ClientConfig:
        """Loads the current API server and credentials.

        Args:
            files: records the files that are read, also if loading fails.

        Raises:
            Misconfigured: no usable configuration was found; the message names the file.
        """
        files = files or FileReader()
        try:
            if not self.kubeconfig and self.master:
                return ClientConfig(address=_address(self.master), files=files)
            if not self.kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST") and files.exists(SERVICE_TOKEN):
                return _load_service_account(files)
            return self._load_kubeconfig(files)
        except Misconfigured as error:
            raise Misconfigured(f"no usable cluster configuration: {self._said(str(error))}") from error

    def _load_kubeconfig(self, files: FileReader) -> ClientConfig:
        names = (self.kubeconfig or os.environ.get("KUBECONFIG") or _DEFAULT_KUBECONFIG).split(os.pathsep)
        context = read_current_context([Path(name).expanduser() for name in names if name], files)
        cluster = context.cluster.section
        authorities = context.content(
            context.cluster, cluster.certificate_authority, cluster.certificate_authority_data, "certificate-authority"
        )
        credentials = credentials_of(context, authorities, self.tokens)
        return ClientConfig(
            address=self._address_in(context, authorities, credentials),
            authorization=credentials.authorization,
            expires_at=credentials.expires_at,
            files=files,
        )

    def _address_in(self, context: CurrentContext, authorities: bytes, credentials: Credentials) -> Address:
        cluster = context.cluster.section
        server = self.master or cluster.server
        if not server:
            raise Misconfigured("the current context's cluster has no server")
        tls = TlsSettings(
            authorities=b"" if cluster.insecure_skip_tls_verify else authorities,
            certificate=credentials.certificate,
            key=credentials.key,
            server_name=cluster.tls_server_name or "",
            verify=not cluster.insecure_skip_tls_verify,
        )
        return _address(server, tls, cluster.proxy_url or "")

    def _said(self, problem: str) -> str:
        """The problem with its file in front, once."""
        where, problem = self._where(), _one_line(problem)
        return problem if problem.startswith(f"{where}: ") else f"{where}: {problem}"

    def _where(self) -> str:
        return (
            self.kubeconfig
            or os.environ.get("KUBECONFIG")
            or f"no --kubeconfig, no service account, and {_DEFAULT_KUBECONFIG}"
        )


def load_configuration(*, kubeconfig: str = "", master: str = "") -> ClientConfig:
    """As `Access.load`."""
    return Access(kubeconfig=kubeconfig, master=master).load()


def _load_service_account(files: FileReader) -> ClientConfig:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
    try:
        token, authorities = files.read(SERVICE_TOKEN).decode(errors="replace"), files.read(SERVICE_AUTHORITY)
    except OSError as error:
        raise Misconfigured(f"service account: {error.filename}: {error.strerror}") from error
    if not authorities.strip():
        raise Misconfigured(f"service account: {SERVICE_AUTHORITY} is empty")
    url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return ClientConfig(
        address=_address(url, TlsSettings(authorities=authorities)),
        authorization=bearer(token, f"service account: {SERVICE_TOKEN}"),
        files=files,
    )


def _address(server: str, tls: TlsSettings | None = None, proxy: str = "") -> Address:
    """The URL to connect to; without a scheme, https if any TLS setting is configured, as in kubectl."""
    tls = tls or TlsSettings()
    if "://" not in server:
        speaks_tls = tls.authorities or tls.certificate or not tls.verify
        server = f"{'https' if speaks_tls else 'http'}://{server}"
    try:
        parts = urlsplit(server)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise Misconfigured(f"the API server's address must be an http:// or https:// URL, not {server!r}")
    return Address(host=server.rstrip("/"), tls=tls, proxy=proxy or _proxy_from_environment(server))


def _proxy_from_environment(server: str) -> str:
    """The proxy of the kubeconfig, or of the environment unless NO_PROXY has the server, as in kubectl."""
    proxies = getproxies()
    proxy = proxies.get(urlsplit(server).scheme) or proxies.get("all") or ""
    return "" if is_exempt(server, proxies.get("no") or "") else proxy


def _one_line(text: str) -> str:
    return " ".join(text.split())
