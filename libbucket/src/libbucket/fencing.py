"""Calls a hook immediately before each request of a urllib3 pool is sent, and limits the time of each answer.

For fencing: of several replicas one leads, and may find at any time that it no longer does, because it was frozen or
disconnected from the cluster. A check before a call is not enough: between it and the first byte a connection is
established, a TLS handshake is made, an attempt fails and is retried seconds later. Works under every client that uses
urllib3, which are most. Knows neither Kubernetes nor a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import PoolManager


ANSWER_SECONDS: Final = 60.0
"""Time limit for an answer of a store as a whole: it is a page of a listing at most."""


def fence_requests(
    manager: PoolManager, before_request: Callable[[], None], *, answer_seconds: float | None = ANSWER_SECONDS
) -> None:
    """Has every attempt of every request of a pool manager call a hook, after its connection is established.

    Args:
        manager: must not have connections yet.
        before_request: usually `Services.before_request`. Raises to hold the request back; its exception leaves the
            call unchanged.
        answer_seconds: limit for an answer as a whole, from when its request was sent to its last byte; then
            `urllib3.exceptions.ReadTimeoutError` is raised. None for streams that do not end.
    """
    from libbucket._fenced_pools import fenced_pools

    manager.pool_classes_by_scheme = fenced_pools(before_request, answer_seconds)
