"""Credentials for the API server: the Authorization header and the client certificate of a kubeconfig's user.

Under `config`. May run a program or call an identity provider, so no request waits for it. If a user's source of
credentials fails, that is an error: without credentials the API server would report missing RBAC permissions of
`system:anonymous`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from urllib3.util import make_headers

from libbucket._kube.errors import Misconfigured
from libbucket._kube.exec_plugin import run_plugin

if TYPE_CHECKING:
    from libbucket._kube.kubeconfig import AuthProvider, Cluster, CurrentContext, User
    from libbucket._kube.oidc import OidcTokens

_EXEC_EXTENSION: Final = "client.authentication.k8s.io/exec"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Credentials for the API server.

    Attributes:
        authorization: value of the header; "" for none.
        certificate: of the client, as PEM; empty for none.
        key: of that certificate, as PEM.
        expires_at: seconds since the epoch; None if unknown.
    """

    authorization: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    expires_at: float | None = None


def bearer(token: str, origin: str) -> str:
    """The Authorization header for a token, without a trailing line break.

    Raises:
        Misconfigured: the token is empty, or contains characters that a header cannot.
    """
    stripped = token.strip()
    if not stripped:
        raise Misconfigured(f"{origin} is empty")
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise Misconfigured(f"{origin} contains characters that are invalid in a token")
    return f"Bearer {stripped}"


def credentials_of(context: CurrentContext, authorities: bytes, tokens: OidcTokens) -> Credentials:
    """The credentials of the current context's user.

    Args:
        context: the current context.
        authorities: of the cluster, as PEM, for plugins with `provideClusterInfo`.
        tokens: refreshed so far.

    Raises:
        Misconfigured: a file cannot be read, a plugin cannot be run, or a token cannot be refreshed.
    """
    user = context.user.section
    certificate = _client_certificate(context, user)
    if user.token_file:
        text = context.read(context.user, user.token_file, "tokenFile").decode(errors="replace")
        return replace(certificate, authorization=bearer(text, f"tokenFile {user.token_file}"))
    if user.token:
        return replace(certificate, authorization=bearer(user.token, f"the token of user {context.user_name!r}"))
    if user.exec is not None:
        return _from_plugin(context, certificate, authorities)
    if user.auth_provider is not None:
        return _from_provider(context, user.auth_provider, certificate, tokens)
    if user.username and user.password:
        header = make_headers(basic_auth=f"{user.username}:{user.password}")["authorization"]
        return replace(certificate, authorization=header)
    return certificate


def _client_certificate(context: CurrentContext, user: User) -> Credentials:
    found = Credentials(
        certificate=context.content(
            context.user, user.client_certificate, user.client_certificate_data, "client-certificate"
        ),
        key=context.content(context.user, user.client_key, user.client_key_data, "client-key"),
    )
    if bool(found.certificate) != bool(found.key):
        raise Misconfigured(f"user {context.user_name!r} needs both client-certificate and client-key, or neither")
    return found


def _from_plugin(context: CurrentContext, certificate: Credentials, authorities: bytes) -> Credentials:
    plugin = context.user.section.exec
    assert plugin is not None  # noqa: S101 - for the type checker: the caller has checked
    given = run_plugin(plugin, context.user.folder, _cluster_info(context.cluster.section, authorities))
    header = bearer(given.token, f"the token of credential plugin {plugin.command!r}") if given.token else ""
    if given.certificate:
        certificate = Credentials(certificate=given.certificate, key=given.key)
    return replace(certificate, authorization=header, expires_at=given.expires_at)


def _cluster_info(cluster: Cluster, authorities: bytes) -> dict[str, Any]:
    """`spec.cluster` of the ExecCredential for plugins with `provideClusterInfo`."""
    own = [one.get("extension") for one in cluster.extensions or () if one.get("name") == _EXEC_EXTENSION]
    info = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": base64.b64encode(authorities).decode(),
        "proxy-url": cluster.proxy_url,
        "config": own[0] if own else None,
    }
    return {name: value for name, value in info.items() if value}


def _from_provider(
    context: CurrentContext, provider: AuthProvider, certificate: Credentials, tokens: OidcTokens
) -> Credentials:
    if provider.name != "oidc":
        raise Misconfigured(
            f"user {context.user_name!r} has auth-provider {provider.name!r}, which Kubernetes 1.26 has removed: "
            "use a credential plugin (exec)"
        )
    config = provider.config or {}
    authorities = context.content(
        context.user,
        config.get("idp-certificate-authority"),
        config.get("idp-certificate-authority-data"),
        "idp-certificate-authority",
    )
    token, expires_at = tokens.current(config, authorities)
    header = bearer(token, f"the ID token of user {context.user_name!r}")
    return replace(certificate, authorization=header, expires_at=expires_at)
