"""Has connections ask whether they may, right before they send a request.

Of several replicas one works, and may find at any time that it is no longer that one: it was frozen, or cut off from
the cluster for too long. A check before a call is not enough, because much can happen between it and the first byte:
a connection is made, a handshake takes its time, an attempt fails and is made again, seconds later. Under every client
that rides on urllib3, which are most. Knows neither Kubernetes nor a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import PoolManager


def fence_requests(manager: PoolManager, fence: Callable[[], None]) -> None:
    """From now on, every request through this pool manager asks the fence last, with its connection made.

    Args:
        manager: that has no connections yet.
        fence: raises to hold the request back; what it raises comes out of the call as it is.
    """

    class Plain(HTTPConnection):
        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.is_closed:
                self.connect()
            fence()
            super().request(*args, **kwargs)

    class Secure(HTTPSConnection):
        def request(self, *args: Any, **kwargs: Any) -> None:
            fence()  # the pool has connected: it looks at the certificate first
            super().request(*args, **kwargs)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
