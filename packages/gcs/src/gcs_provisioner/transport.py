"""Sessions of requests that ask for the leadership check before each request, and follow no redirect.

Used by `connector`. Knows no credentials and no API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from requests import exceptions as http
from requests.adapters import HTTPAdapter

from libbucket import fence_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests


class _FencedAdapter(HTTPAdapter):
    """Connections, direct ones and those through a proxy, that ask the fence right before each request."""

    def __init__(self, fence: Callable[[], None]) -> None:
        self._fence = fence
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """For direct connections."""
        super().init_poolmanager(*args, **options)
        fence_requests(self.poolmanager, self._fence)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """For those through a proxy that the environment names; requests keeps one for each.

        Raises:
            requests.exceptions.ProxyError: for SOCKS, whose connections can't be made to ask.
        """
        if proxy.lower().startswith("socks"):
            raise http.ProxyError("SOCKS is not supported")
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if is_new:
            fence_requests(manager, self._fence)
        return manager


def prepare(session: requests.Session, fence: Callable[[], None]) -> None:
    """Has the session ask `fence` before each request, whatever it connects through."""
    session.max_redirects = 0  # a server that redirects our request is not Google
    fenced = _FencedAdapter(fence)
    for scheme in ("https://", "http://"):
        session.mount(scheme, fenced)
