"""An application of a store whose objects are read and written by plain HTTP requests.

Beside `application`, for a backend's tests: a client on urllib3 that uses nothing of the provisioner's, and so finds
what the store really does. Knows no store and no Kubernetes, and imports no test framework.
"""

from __future__ import annotations

import json as json_text
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote, urlencode

import urllib3

from libbucket.testing.application import Application, Refused
from libbucket.types import SecretStr

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_SECONDS: Final = 20.0
_LONGEST_SHOWN: Final = 200


class HttpApplication(Application):
    """A client with one set of credentials. A test's `Administrator` sends its requests by another one.

    Implement `request_object`, `list_keys` and `remove_bucket`; override `put`, `get` and `delete` where they are more
    than one such request.

    Args:
        url: of the store, as the endpoint of a claim has it.
        headers: of every request, such as `libbucket.basic(keys)` or `libbucket.bearer(token)`.

    Attributes:
        refusals: statuses that mean that the caller may not do this, or is unknown.
    """

    refusals: ClassVar[frozenset[int]] = frozenset({401, 403})

    def __init__(self, url: str, headers: Mapping[str, str | SecretStr]) -> None:
        self._url = url.rstrip("/")
        self._headers = {
            name: value.reveal() if isinstance(value, SecretStr) else value for name, value in headers.items()
        }
        self._pool = urllib3.PoolManager(timeout=_SECONDS, retries=False, maxsize=8)

    @abstractmethod
    def request_object(self, method: str, bucket: str, key: str, body: bytes) -> urllib3.BaseHTTPResponse:
        """Sends one request for an object, by `request`.

        Args:
            method: PUT, GET or DELETE.
            bucket: of the object.
            key: of the object; may have slashes, which are a part of it.
            body: of a PUT: the object.
        """

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """A PUT with the object as its body."""
        self.request_object("PUT", bucket, key, data)

    def get(self, bucket: str, key: str) -> bytes:
        """A GET, answered with the object."""
        return self.request_object("GET", bucket, key, b"").data

    def delete(self, bucket: str, key: str) -> None:
        """A DELETE."""
        self.request_object("DELETE", bucket, key, b"")

    def request(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        json: object = None,
        body: bytes = b"",
        accept: Collection[int] = (),
    ) -> urllib3.BaseHTTPResponse:
        """Sends one request, once, and gives the answer.

        Args:
            method: such as "PUT".
            path: the parts of the path; each is quoted.
            query: the parameters after the path.
            json: sent as the body; None for `body` as it is.
            body: sent as it is.
            accept: statuses that are returned besides 2xx, such as 404 for something that may be gone.

        Raises:
            Refused: one of `refusals`.
            AssertionError: every other status.
        """
        target = f"{self._url}/{'/'.join(quote(each, safe='') for each in path)}"
        sent = body if json is None else json_text.dumps(json).encode()
        headers = self._headers if json is None else {**self._headers, "Content-Type": "application/json"}
        answer = self._pool.request(
            method, f"{target}?{urlencode(query)}" if query else target, headers=headers, body=sent, redirect=False
        )
        if answer.status in accept or 200 <= answer.status < 300:
            return answer
        if answer.status in self.refusals:
            raise Refused(f"HTTP {answer.status}")
        said = answer.data.decode(errors="replace")[:_LONGEST_SHOWN]
        raise AssertionError(f"{method} {target} was answered with HTTP {answer.status}: {said}")

    def find(self, *path: str, query: Mapping[str, str] | None = None) -> Any:
        """What is there, as JSON; None where the answer's status is 404."""
        answer = self.request("GET", *path, query=query, accept={404})
        return None if answer.status == 404 else answer.json()
