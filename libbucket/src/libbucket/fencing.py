"""Calls a hook immediately before each request of a urllib3 pool is sent.

For fencing: of several replicas one leads, and may find at any time that it no longer does, because it was frozen or
disconnected from the cluster. A check before a call is not enough: between it and the first byte a connection is
established, a TLS handshake is made, an attempt fails and is retried seconds later. Works under every client that uses
urllib3, which are most. Knows neither Kubernetes nor a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import PoolManager


def fence_requests(manager: PoolManager, before_request: Callable[[], None]) -> None:
    """Has every attempt of every request of a pool manager call a hook, after its connection is established.

    Args:
        manager: must not have connections yet.
        before_request: usually `Services.before_request`. Raises to hold the request back; its exception leaves the
            call unchanged.
    """

    class Plain(HTTPConnection):
        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.is_closed:
                self.connect()
            before_request()
            super().request(*args, **kwargs)

    class Secure(HTTPSConnection):
        def request(self, *args: Any, **kwargs: Any) -> None:
            before_request()  # the pool has connected already, to verify the certificate
            super().request(*args, **kwargs)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
