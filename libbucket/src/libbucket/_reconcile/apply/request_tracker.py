"""Tracks whether a call of the provisioner has sent a request to its store.

The request hook records each request, `ProvisionerCalls` asks after a failed call. Knows neither leadership nor stores.
"""

from __future__ import annotations

import threading


class RequestTracker:
    """The requests of the call that the current thread is in. Safe for threads."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def begin_call(self) -> None:
        """A call begins, and has sent nothing yet."""
        self._of_thread.has_sent = False

    def record_request(self) -> None:
        """A request is about to be sent."""
        self._of_thread.has_sent = True

    @property
    def has_sent(self) -> bool:
        """Whether the call that this thread began last has sent a request; True in a thread that began none."""
        return getattr(self._of_thread, "has_sent", True)
