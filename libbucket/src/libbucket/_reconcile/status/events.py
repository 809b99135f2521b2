"""Writes Events, beside the work on claims: no claim waits for one, and a namespace that refuses them delays no other.

Used by the reporter. Knows what the API server does with an Event, not what it says.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from libbucket._kube.errors import ClusterUnavailable, KubeError, LeadershipLost, NamespaceTerminating
from libbucket._kube.resources import EVENTS
from libbucket._reconcile.status.skipped_namespaces import SkippedNamespaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._kube.client import KubeClient

_MOST_OF_A_NAMESPACE: Final = 250
_MOST_NAMESPACES: Final = 1000
_REQUEST_SECONDS: Final = 5.0
DRAIN_SECONDS: Final = 2.0
"""How long Events are still written when the process ends."""


class EventSink(Protocol):
    """Where the reporter puts Events."""

    def write(self, namespace: str, body: dict[str, Any]) -> None:
        """Writes an Event, or drops it; raises nothing."""


class DirectEvents:
    """Writes each Event at once.

    Args:
        client: writes to the API server.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client.impatient(_REQUEST_SECONDS)
        self._log = structlog.get_logger()

    def write(self, namespace: str, body: dict[str, Any]) -> None:
        """Writes an Event. A failure is only logged."""
        self.try_to_write(namespace, body)

    def try_to_write(self, namespace: str, body: dict[str, Any]) -> bool:
        """Writes an Event; returns whether the API server answered. A failure is only logged."""
        about = {"namespace": namespace, "name": body["involvedObject"]["name"], "reason": body["reason"]}
        try:
            self._client.create(EVENTS, body, namespace=namespace)
        except (NamespaceTerminating, LeadershipLost) as error:
            self._log.debug("Event not written", error=str(error), **about)
        except KubeError as error:
            self._log.warning("Event could not be written", error=str(error), **about)
            return not isinstance(error, ClusterUnavailable)
        return True


class EventQueue:
    """Writes Events in a thread, `run`: in turns by namespace, each in order. Full queues drop their oldest Event.

    Args:
        events: writes them.
        clock: monotonic, in seconds.
    """

    def __init__(self, events: DirectEvents, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._events = events
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, deque[dict[str, Any]]] = OrderedDict()
        self._skipped = SkippedNamespaces(clock)
        self._stops_at: float | None = None

    def write(self, namespace: str, body: dict[str, Any]) -> None:
        """Queues an Event."""
        with self._changed:
            waiting = self._waiting.get(namespace)
            if waiting is None:
                if len(self._waiting) >= _MOST_NAMESPACES:
                    self._waiting.popitem(last=False)
                waiting = self._waiting[namespace] = deque(maxlen=_MOST_OF_A_NAMESPACE)
            waiting.append(body)
            self._changed.notify()

    def run(self) -> None:
        """Writes until `stop`, and then for a moment what still waits."""
        while True:
            with self._changed:
                while not self._waiting and self._stops_at is None:
                    self._changed.wait()
                if not self._waiting or (self._stops_at is not None and self._clock() > self._stops_at):
                    return
            self.write_next()

    def write_next(self) -> None:
        """Writes the oldest Event of the namespace whose turn it is."""
        with self._changed:
            namespace, waiting = self._waiting.popitem(last=False)
            body = waiting.popleft()
            if waiting:
                self._waiting[namespace] = waiting
        if namespace not in self._skipped and not self._events.try_to_write(namespace, body):
            self._skipped.note_failure(namespace)

    def stop(self) -> None:
        """Ends `run` once nothing waits, or after two seconds."""
        with self._changed:
            self._stops_at = self._clock() + DRAIN_SECONDS
            self._changed.notify()
