# ruff: noqa: D102 - the methods of routes are described by their routes

"""A small object store with an HTTP API: what the guide's provisioner, the scaffold's and their tests run against.

Buckets with tags and a quota, users with one key each, permissions per bucket. Everything is in memory. Runs in a
test, or as a process:

    with http_store() as store:
        store.url, store.token

    python -m libbucket.testing.http_store --port 8900 --token a-secret-token

The administrator sends `Authorization: Bearer TOKEN`, an application `Authorization: Basic` with its key and secret.
Bodies are JSON but for objects; each refusal has a `code` and a `message`, each answer an `X-Request-Id`. The whole API
is the list `_ROUTES`. Not for data that matters. Knows no provisioner.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import re
import secrets
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_HOST: Final = "127.0.0.1"
_SECONDS: Final = 30.0
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])?")
_PAGE: Final = 1000
"""Keys of one listing, and objects that one purge removes."""


class _Refusal(Exception):
    """An answer other than success.

    Args:
        status: of HTTP.
        code: of the store, for programs.
    """

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


@dataclass
class _Bucket:
    tags: dict[str, str] = field(default_factory=dict)
    max_objects: int | None = None
    objects: dict[str, bytes] = field(default_factory=dict)

    def described(self) -> dict[str, object]:
        return {"tags": self.tags, "max_objects": self.max_objects, "is_empty": not self.objects}


@dataclass
class _User:
    bucket: str
    key: str
    secret: str


@dataclass
class HttpStore:
    """The state of a store, and how it is reached.

    Attributes:
        token: of the administrator.
        url: `http://127.0.0.1:PORT`; "" before it is served.
        distrusts: whether every key of a user is refused, as by a node whose cache is stale; the administrator is not.
    """

    token: str = "a-secret-token"  # noqa: S105 - of a store for tests
    url: str = ""
    distrusts: bool = False
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _users: dict[str, _User] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def names(self) -> list[str]:
        """Of everything in the store: "bucket NAME", "user ID"."""
        with self._lock:
            return [*(f"bucket {name}" for name in self._buckets), *(f"user {name}" for name in self._users)]

    def answer(self, request: _Request) -> _Reply:
        """What the store says to one request, which it carries out whole or not at all."""
        with self._lock:
            try:
                user = self._authenticated(request.authorization)
                action, names = _route(request)
                return action(self, request, user, *names)
            except _Refusal as refusal:
                return _json(refusal.status, {"code": refusal.code, "message": f"refused: {refusal.code}"})

    def _authenticated(self, authorization: str) -> _User | None:
        """The user of a request; None for the administrator."""
        scheme, _, value = authorization.partition(" ")
        if scheme == "Bearer" and secrets.compare_digest(value.encode(), self.token.encode()):
            return None
        if scheme == "Basic" and not self.distrusts:
            key, _, secret = _basic(value)
            for user in self._users.values():
                if (user.key, user.secret) == (key, secret):
                    return user
        raise _Refusal(401, "UnknownCredentials")

    def _bucket(self, name: str) -> _Bucket:
        if name not in self._buckets:
            raise _Refusal(404, "NoSuchBucket")
        return self._buckets[name]

    def _open(self, user: _User | None, name: str) -> _Bucket:
        """A bucket whose objects this user may use."""
        if user is not None and user.bucket != name:
            raise _Refusal(403, "Forbidden")
        return self._bucket(name)

    def put_bucket(self, request: _Request, user: _User | None, name: str) -> _Reply:
        _administrators_only(user)
        if not _NAME.fullmatch(name):
            raise _Refusal(400, "InvalidName")
        if name in self._buckets:
            raise _Refusal(409, "BucketExists")
        body = request.json()
        self._buckets[name] = _Bucket(tags=body.get("tags", {}), max_objects=body.get("max_objects"))
        return _json(201, self._buckets[name].described())

    def list_buckets(self, request: _Request, user: _User | None) -> _Reply:
        _administrators_only(user)
        after = request.query.get("after", "")
        return _json(200, {"names": [name for name in sorted(self._buckets) if name > after][:_PAGE]})

    def get_bucket(self, _request: _Request, user: _User | None, name: str) -> _Reply:
        _administrators_only(user)
        return _json(200, self._bucket(name).described())

    def patch_bucket(self, request: _Request, user: _User | None, name: str) -> _Reply:
        _administrators_only(user)
        bucket = self._bucket(name)
        for key, value in request.json().items():
            setattr(bucket, key, value)
        return _json(200, bucket.described())

    def delete_bucket(self, _request: _Request, user: _User | None, name: str) -> _Reply:
        _administrators_only(user)
        if self._bucket(name).objects:
            raise _Refusal(409, "BucketNotEmpty")
        del self._buckets[name]
        return _Reply(204)

    def purge_bucket(self, _request: _Request, user: _User | None, name: str) -> _Reply:
        _administrators_only(user)
        objects = self._bucket(name).objects
        gone = list(objects)[:_PAGE]
        for key in gone:
            del objects[key]
        return _json(200, {"removed": len(gone)})

    def list_objects(self, request: _Request, user: _User | None, name: str) -> _Reply:
        keys = sorted(self._open(user, name).objects)
        after, limit = request.query.get("after", ""), min(_PAGE, int(request.query.get("limit", _PAGE)))
        return _json(200, {"keys": [key for key in keys if key > after][:limit]})

    def put_object(self, request: _Request, user: _User | None, name: str, key: str) -> _Reply:
        bucket = self._open(user, name)
        is_full = bucket.max_objects is not None and len({*bucket.objects, key}) > bucket.max_objects
        if is_full:
            raise _Refusal(403, "QuotaExceeded")
        bucket.objects[key] = request.body
        return _Reply(204)

    def get_object(self, _request: _Request, user: _User | None, name: str, key: str) -> _Reply:
        objects = self._open(user, name).objects
        if key not in objects:
            raise _Refusal(404, "NoSuchObject")
        return _Reply(200, objects[key], "application/octet-stream")

    def delete_object(self, _request: _Request, user: _User | None, name: str, key: str) -> _Reply:
        self._open(user, name).objects.pop(key, None)
        return _Reply(204)

    def put_user(self, request: _Request, user: _User | None, name: str) -> _Reply:
        """Creates a user, or replaces its key: an earlier one is refused from then on."""
        _administrators_only(user)
        bucket = str(request.json()["bucket"])
        self._bucket(bucket)
        made = self._users[name] = _User(bucket=bucket, key=secrets.token_hex(10), secret=secrets.token_urlsafe(30))
        return _json(201, {"key": made.key, "secret": made.secret})

    def get_user(self, _request: _Request, user: _User | None, name: str) -> _Reply:
        """The user without its secret, which is shown once."""
        _administrators_only(user)
        if name not in self._users:
            raise _Refusal(404, "NoSuchUser")
        return _json(200, {"bucket": self._users[name].bucket, "key": self._users[name].key})

    def delete_user(self, _request: _Request, user: _User | None, name: str) -> _Reply:
        _administrators_only(user)
        if self._users.pop(name, None) is None:
            raise _Refusal(404, "NoSuchUser")
        return _Reply(204)


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str]
    authorization: str
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise _Refusal(400, "InvalidJson")
        return found


@dataclass(frozen=True)
class _Reply:
    status: int
    body: bytes = b""
    media_type: str = "application/json"


_ROUTES: Final[Sequence[tuple[str, re.Pattern[str], Callable[..., _Reply]]]] = [
    (method, re.compile(path.replace("*", "([^/]+)")), action)
    for method, path, action in (
        ("GET", "/buckets", HttpStore.list_buckets),
        ("PUT", "/buckets/*", HttpStore.put_bucket),
        ("GET", "/buckets/*", HttpStore.get_bucket),
        ("PATCH", "/buckets/*", HttpStore.patch_bucket),
        ("DELETE", "/buckets/*", HttpStore.delete_bucket),
        ("POST", "/buckets/*/purge", HttpStore.purge_bucket),
        ("GET", "/buckets/*/objects", HttpStore.list_objects),
        ("PUT", "/buckets/*/objects/*", HttpStore.put_object),
        ("GET", "/buckets/*/objects/*", HttpStore.get_object),
        ("DELETE", "/buckets/*/objects/*", HttpStore.delete_object),
        ("PUT", "/users/*", HttpStore.put_user),
        ("GET", "/users/*", HttpStore.get_user),
        ("DELETE", "/users/*", HttpStore.delete_user),
    )
]


def _route(request: _Request) -> tuple[Callable[..., _Reply], list[str]]:
    """The method for a request, and the names in its path."""
    for method, pattern, action in _ROUTES:
        found = pattern.fullmatch(request.path)
        if method == request.method and found is not None:
            return action, [unquote(name) for name in found.groups()]
    raise _Refusal(404, "NoSuchRoute")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _SECONDS
    server: _Server

    def _answer(self) -> None:
        address = urlsplit(self.path)
        request = _Request(
            method=self.command,
            path=address.path,
            query={key: values[0] for key, values in parse_qs(address.query).items()},
            authorization=self.headers.get("Authorization", ""),
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        reply = self.server.store.answer(request)
        self.send_response_only(reply.status)
        self.send_header("X-Request-Id", secrets.token_hex(8))
        if reply.body:
            self.send_header("Content-Type", reply.media_type)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = _answer  # noqa: N815 - names of http.server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, store: HttpStore, port: int) -> None:
        super().__init__((_HOST, port), _Handler)
        self.store = store
        store.url = f"http://{_HOST}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of the store."""


@contextmanager
def http_store(token: str = "a-secret-token") -> Iterator[HttpStore]:  # noqa: S107 - of a store for tests
    """A store on a free port of 127.0.0.1, gone at the end of the block."""
    store = HttpStore(token=token)
    server = _Server(store, 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_SECONDS)


def main(argv: Sequence[str]) -> int:
    """Serves one store until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m libbucket.testing.http_store", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--token", required=True, help="of the administrator")
    arguments = parser.parse_args(argv)
    server = _Server(HttpStore(token=arguments.token), arguments.port)
    sys.stderr.write(f"serving on {server.store.url}\n")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    return 0


def _administrators_only(user: _User | None) -> None:
    if user is not None:
        raise _Refusal(403, "Forbidden")


def _basic(value: str) -> tuple[str, str, str]:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", "", ""


def _json(status: int, body: object) -> _Reply:
    return _Reply(status, json.dumps(body).encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
