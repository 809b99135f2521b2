"""An API server inside the process that answers after a given time, so that not it, but a replica is measured.

A client for the controller, with the rules of `testkit.api_server`, whole lists, and watches of all namespaces. Every
process has its own, with all claims: what other replicas write is not seen. Knows nothing of the benchmark.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from libbucket._kube.client import KubeClient
from libbucket._kube.errors import from_status, parse_status
from libbucket._kube.transport import no_leadership_check
from testkit.api_server import Cluster, Refusal, Request, dump, load, plural_of, respond
from testkit.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    import urllib3

    from testkit.api_server import Json

_WRITTEN_BLINDLY: Final = "/events"


class StubApi(KubeClient):
    """The client and the server in one.

    Args:
        seconds: after which each request is answered.
    """

    def __init__(self, seconds: float) -> None:
        self._delay = seconds
        self._lock = threading.Lock()
        self._objects: dict[str, bytes] = {}
        self._version = 0
        self._watches: list[_Watch] = []
        self._check_leadership = no_leadership_check
        self.requests = 0

    def impatient(self, seconds: float) -> StubApi:
        """The same: it always answers in time."""
        del seconds
        return self

    def answers(self) -> bool:
        """It does."""
        return True

    def make(self, collection: str, body: Json) -> None:
        """Creates an object at once, as a user."""
        self._carry_out(Request(method="POST", path=collection, body=dump(body)))

    def get(self, path: str, **_rest: Any) -> bytes:
        """As `KubeClient`: an object, or a whole list."""
        self._wait()
        with self._lock:
            if path in self._objects:
                return self._objects[path]
            plural = path.rpartition("/")[2]
            found = [raw for one, raw in self._objects.items() if plural_of(one) == plural]
            return b'{"metadata":{"resourceVersion":"%d"},"items":[%s]}' % (self._version, b",".join(found))

    def open_stream(self, path: str, *, params: Mapping[str, str], **_rest: Any) -> urllib3.BaseHTTPResponse:
        """As `KubeClient`: the events of a collection, of all namespaces; not the deletions before it is opened."""
        watch, since = _Watch(path.rpartition("/")[2]), int(params["resourceVersion"])
        with self._lock:
            of_kind = [raw for one, raw in self._objects.items() if plural_of(one) == watch.plural]
            for raw in sorted(of_kind, key=_version_of):  # as a history: versions never go back
                if _version_of(raw) > since:
                    watch.tell(_event(b"MODIFIED", raw))
            self._watches.append(watch)
        return cast("urllib3.BaseHTTPResponse", watch)

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, method: str, path: str, content_type: str, body: dict[str, Any]) -> bytes:
        del content_type
        self._check_leadership()
        self._wait()
        path = path.partition("?")[0]
        if path.endswith(_WRITTEN_BLINDLY):
            return b"{}"
        return self._carry_out(Request(method=method, path=path, body=dump(body)))

    def _wait(self) -> None:
        self.requests += 1
        time.sleep(self._delay)

    def _carry_out(self, request: Request) -> bytes:
        with self._lock:
            path = request.path.removesuffix("/status")
            if request.method == "POST":
                path = f"{path}/{load(request.body)['metadata']['name']}"
            old = self._objects.get(path)
            # Of this one object: a cluster as a value is copied by each write.
            known = Frozen({path: old}) if old is not None else Frozen[str, bytes]()
            versions = Frozen({path: self._version})
            after, answer = respond(Cluster(objects=known, versions=versions, has_uuids=True), request)
            if isinstance(answer, Refusal):
                body = dump({"reason": answer.reason, "details": {"name": "of-the-request"}})
                raise from_status(parse_status(body, answer.code), {}, str(request))
            self._store(path, old, after.objects.get(path))
            return answer

    def _store(self, path: str, old: bytes | None, new: bytes | None) -> None:
        if new == old:
            return
        self._version += 1
        if new is None:
            del self._objects[path]
            gone = json.loads(old or b"{}")
            gone["metadata"]["resourceVersion"] = str(self._version)
            kind, raw = b"DELETED", dump(gone)
        else:
            self._objects[path] = new
            kind, raw = (b"ADDED" if old is None else b"MODIFIED"), new
        for watch in self._watches:
            if watch.plural == plural_of(path):
                watch.tell(_event(kind, raw))


def _version_of(raw: bytes) -> int:
    return int(load(raw)["metadata"]["resourceVersion"])


def _event(kind: bytes, raw: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind, raw)


class _Watch:
    """A response that never ends by itself."""

    connection = None

    def __init__(self, plural: str) -> None:
        self.plural = plural
        self._lines: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    def tell(self, line: bytes) -> None:
        with self._changed:
            self._lines.append(line)
            self._changed.notify()

    def read1(self, _size: int) -> bytes:
        with self._changed:
            while not self._lines and not self._is_closed:
                self._changed.wait()
            lines = b"".join(self._lines)
            self._lines.clear()
            return b"" if self._is_closed else lines

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def shutdown(self) -> None:
        self.close()
