"""Requests to the API server: bytes out, typed objects in, errors typed.

Uses `connection` for configuration, authentication, TLS and connections. Knows HTTP and the API's conventions;
knows nothing of caches or claims. Whether this replica may write is checked by a callable before each write.
"""

from __future__ import annotations

from contextlib import closing
from copy import copy
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3

from libbucket._kube.connection import Connection
from libbucket._kube.errors import (
    ClusterUnavailable,
    Forbidden,
    KubeError,
    NotFound,
    Unreadable,
    from_status,
    from_transport,
    parse_status,
)
from libbucket._kube.resources import NAMESPACES
from libbucket._kube.tolerant_json import decode
from libbucket._kube.transport import Request, no_leadership_check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libbucket import _api
    from libbucket._kube.client_config import ClientConfig
    from libbucket._kube.config import Access
    from libbucket._kube.resources import Resource

T = TypeVar("T", bound="_api.Object")

READ_SECONDS: Final = 30.0
_PROBE_SECONDS: Final = 5.0
_PROBED_NAMESPACE: Final = "kube-system"
FIELD_MANAGER: Final = "libbucket"
_MERGE_PATCH: Final = "application/merge-patch+json"
_APPLY_PATCH: Final = "application/apply-patch+yaml"  # JSON is YAML
_JSON: Final = "application/json"


class KubeClient:
    """One connection pool to one API server. Safe for threads.

    Args:
        config: the initial configuration.
        access: its source, to follow changes; None if it never changes.
        check_leadership: called before each write, and again when its connection is established; raises
            `LeadershipLost` to hold the write back.
        pool_size: connections kept open; about one per thread that makes requests.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        access: Access | None = None,
        check_leadership: Callable[[], None] = no_leadership_check,
        pool_size: int = 32,
    ) -> None:
        self._connection = Connection(config, access, pool_size)
        self._check_leadership = check_leadership
        self._seconds = READ_SECONDS

    @property
    def host(self) -> str:
        """Address of the API server."""
        return self._connection.host

    def stay_at(self, cluster_id: str) -> None:
        """Rejects later changes of the configuration that lead to another cluster.

        Args:
            cluster_id: uid of the namespace kube-system.
        """
        self._connection.cluster_id = cluster_id

    def fenced(self, check_leadership: Callable[[], None]) -> KubeClient:
        """A client on the same connections, with a leadership check before each write."""
        clone = copy(self)
        clone._check_leadership = check_leadership  # noqa: SLF001 - a copy of ourselves
        return clone

    def impatient(self, seconds: float) -> KubeClient:
        """A client on the same connections, with another time limit for each answer."""
        clone = copy(self)
        clone._seconds = seconds  # noqa: SLF001 - a copy of ourselves
        return clone

    def check_leadership(self) -> None:
        """The same check, for requests to other servers.

        Raises:
            LeadershipLost: this replica may no longer be the leader.
        """
        self._check_leadership()

    def read(self, resource: Resource[T], name: str, *, namespace: str = "") -> T:
        """Reads one object.

        Raises:
            NotFound: it does not exist.
            KubeError: any other refusal, or no answer.
        """
        answer = self.get(resource.path(name, namespace=namespace), accept=resource.accept_event)
        return self._decode(answer, resource)

    def get(self, path: str, *, params: Mapping[str, str] | None = None, accept: str = _JSON) -> bytes:
        """The body of a GET.

        Raises:
            KubeError: a refusal, or no answer.
        """
        return self._body(self._send("GET", _with(path, params), {"Accept": accept}, None, self._seconds))

    def create(self, resource: Resource[T], body: dict[str, Any], *, namespace: str = "") -> T:
        """Creates an object.

        Raises:
            AlreadyExists: one of that name exists.
            NamespaceTerminating: its namespace is being deleted.
            KubeError: any other refusal, or no answer.
        """
        path = _with(resource.path(namespace=namespace), {"fieldManager": FIELD_MANAGER})
        return self._decode(self._write("POST", path, _JSON, body), resource)

    def replace(self, resource: Resource[T], name: str, body: dict[str, Any], *, namespace: str = "") -> T:
        """Replaces an object; `body` contains the resource version that it was read with.

        Raises:
            Conflict: it changed since.
            KubeError: any other refusal, or no answer.
        """
        path = _with(resource.path(name, namespace=namespace), {"fieldManager": FIELD_MANAGER})
        return self._decode(self._write("PUT", path, _JSON, body), resource)

    def patch(
        self, resource: Resource[T], name: str, body: dict[str, Any], *, namespace: str = "", subresource: str = ""
    ) -> T:
        """Merges `body` into an object: fields that it does not name stay as they are.

        A `metadata.resourceVersion` in `body` makes the patch conditional, which is required for lists, because a merge
        patch replaces whole lists.

        Raises:
            NotFound: the object, or its subresource, does not exist.
            Conflict: it changed since.
            KubeError: any other refusal, or no answer.
        """
        path = resource.path(name, namespace=namespace, subresource=subresource)
        body_bytes = self._write("PATCH", _with(path, {"fieldManager": FIELD_MANAGER}), _MERGE_PATCH, body)
        return self._decode(body_bytes, resource)

    def preview(self, resource: Resource[T], name: str, body: dict[str, Any], *, namespace: str = "") -> T:
        """The object as it would be if `body` were applied: validated and admitted, and stored nowhere.

        Server-side apply as a dry run: https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run

        Raises:
            Rejected: the API server would refuse it.
            KubeError: any other refusal, or no answer.
        """
        query = {"fieldManager": f"{FIELD_MANAGER}-plan", "force": "true", "dryRun": "All"}
        path = _with(resource.path(name, namespace=namespace), query)
        return self._decode(self._write("PATCH", path, _APPLY_PATCH, body), resource)

    def delete(
        self, resource: Resource[T], name: str, *, uid: str, namespace: str = "", resource_version: str = ""
    ) -> T | None:
        """Deletes the object with this uid, and no other that took its name.

        A resource version makes the deletion conditional on the object being unchanged.

        Returns:
            The object, which waits for its finalizers; None if it is gone.

        Raises:
            NotFound: it is gone already.
            Conflict: the name belongs to another object now, or it has changed.
            KubeError: any other refusal, or no answer.
        """
        conditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
        answer = self._write("DELETE", resource.path(name, namespace=namespace), _JSON, body)
        # The object while it waits for finalizers, else a Status, whose metadata has no uid.
        found = self._decode(answer, resource)
        return found if found.metadata.uid == uid else None

    def answers(self) -> bool:
        """Whether the API server and its storage answer now.

        Reads the namespace kube-system, which the service account may read, and which no webhook, quota or policy of a
        tenant affects. Takes a few seconds at most.
        """
        try:
            self.impatient(_PROBE_SECONDS).get(NAMESPACES.path(_PROBED_NAMESPACE))
        except (Forbidden, NotFound):
            return True
        except KubeError:
            return False
        return True

    def open_stream(
        self, path: str, *, params: Mapping[str, str], accept: str, silence: float
    ) -> urllib3.BaseHTTPResponse:
        """Opens a streamed response; the caller closes it.

        Args:
            path: of the collection.
            params: of the query.
            accept: content type.
            silence: seconds without a byte after which the stream is closed.

        Raises:
            KubeError: a refusal, or no answer.
        """
        response = self._send("GET", _with(path, params), {"Accept": accept}, None, self._seconds)
        if response.status >= 400:
            self._body(response)
        # The headers arrive within the usual time limit; only the events may be far apart.
        connection = getattr(response, "connection", None)
        if connection is not None and connection.sock is not None:
            connection.sock.settimeout(silence)
        self._connection.keep(response)
        return response

    def close(self) -> None:
        """Closes the idle connections."""
        self._connection.close()

    def _write(self, method: str, path: str, content_type: str, body: dict[str, Any]) -> bytes:
        self._check_leadership()
        headers = {"Accept": _JSON, "Content-Type": content_type}
        with self._connection.fenced(self._check_leadership):
            response = self._send(method, path, headers, body, self._seconds)
        return self._body(response)

    def _send(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, Any] | None, seconds: float
    ) -> urllib3.BaseHTTPResponse:
        live = self._connection.live()
        request = Request(method=method, path=path, headers=headers, body=body, seconds=seconds)
        try:
            return live.send(request)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise from_transport(error, live.host) from error

    def _decode(self, body: bytes, resource: Resource[T]) -> T:
        try:
            return decode(body, resource.type)
        except msgspec.ValidationError as error:
            raise Unreadable(f"an object of {resource.plural} can't be read: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ClusterUnavailable(
                f"{self.host}: the response is not a JSON object; is this an API server?"
            ) from error

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        try:
            with closing(response):
                body = response.read()
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise from_transport(error, self.host) from error
        if response.status == 401:
            self._connection.doubt()
        if response.status >= 400:
            request = urllib3.util.parse_url(response.url or "").path or ""
            raise from_status(parse_status(body, response.status), response.headers, request)
        return body


def _with(path: str, params: Mapping[str, str] | None) -> str:
    return f"{path}?{urlencode(params)}" if params else path
