"""Where a call that Python audits wants to go, and whether that is this machine. Pure; the standard library only.

Used by `offline` in the process of the tests, and by `_offline_child` in those that they start.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any, Final

_CONNECTING: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_RESOLVING: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_NEVER_EXISTS: Final = (".invalid", ".test")


def destination(event: str, arguments: tuple[Any, ...]) -> str:
    """Where an audited call wants to go, if that is off this machine; "" if it may pass.

    Args:
        event: name of an event of Python's audit table.
        arguments: of that event.
    """
    if event in _RESOLVING:
        host = arguments[0]
    elif event in _CONNECTING and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return ""
    host = host.decode() if isinstance(host, bytes) else str(host or "")
    return "" if _is_here(host) else host


def _is_here(host: str) -> bool:
    if host in {"", "localhost", socket.gethostname()}:
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def never_exists(host: str) -> bool:
    """Whether no such host can exist (RFC 2606): it may be asked for, and is found nowhere."""
    return host.endswith(_NEVER_EXISTS)
