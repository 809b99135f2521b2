"""Whether `NO_PROXY` exempts a server from the proxy of the environment, by the rules of kubectl.

They are those of Go: https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config. Pure.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit


def is_exempt(server: str, no_proxy: str) -> bool:
    """Whether requests to a server go past the proxy.

    Args:
        server: URL with a scheme.
        no_proxy: addresses, networks and domains, separated by commas, each with or without a port; `*` for all.
            A domain stands for its subdomains, too; one that begins with a dot for these only.
    """
    parts = urlsplit(server)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if host == "localhost" or _is_loopback(host):
        return True
    return any(_matches(entry.strip().lower(), host, port) for entry in no_proxy.split(","))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _matches(entry: str, host: str, port: int) -> bool:
    if entry in {"", "*"}:
        return entry == "*"
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        pass  # a name, or an address with a port
    name, wanted = _split_port(entry)
    if wanted and wanted != str(port):
        return False
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, str]:
    name, colon, port = entry.rpartition(":")
    if not colon or not port.isdecimal():
        return entry.strip("[]"), ""
    return name.strip("[]"), port
