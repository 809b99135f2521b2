"""The HTTP server in front of the three APIs, and the handle that tests hold.

One address serves all: the token endpoint, IAM, the JSON API, and at every other path the XML API.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar, Final

from testkit.gcs.fake import iam_api, json_api, xml_api
from testkit.gcs.fake.federation import STS_PATH, exchange, impersonate, mint_federated
from testkit.gcs.fake.members import OTHER_POOL, PROJECT_NUMBER
from testkit.gcs.fake.model import Account, Bucket, Json, Store
from testkit.gcs.fake.permissions import ROLES
from testkit.gcs.fake.policies import default_policy
from testkit.gcs.fake.tokens import mint
from testkit.gcs.fake.wire import Answer, ApiError, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROJECT: Final = "project-of-the-tests"
TOKEN_PATH: Final = "/oauth2/token"
_JSON_PATHS: Final = ("/storage/v1/", "/upload/storage/v1/", "/download/storage/v1/", "/batch/storage/v1")
_ADMIN_ROLES: Final = (
    "roles/storage.admin",
    "roles/storage.hmacKeyAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountKeyAdmin",
)
EVERYTHING: Final = frozenset().union(*(ROLES[role] for role in _ADMIN_ROLES))


class FakeGcs:
    """A running fake.

    Attributes:
        store: what it remembers; to be read and set, while requests do the changes.
        url: where it listens.
    """

    def __init__(self, store: Store, url: str) -> None:
        self.store = store
        self.url = url
        self.knobs = store.knobs
        self.clock = store.clock
        self.project = store.project

    @property
    def token_uri(self) -> str:
        """Where assertions become tokens."""
        return self.url + TOKEN_PATH

    def add_admin(self, name: str, permissions: Iterable[str] = EVERYTHING) -> str:
        """A service account with permissions in the whole project; gives its key file."""
        email = f"{name}@{self.project}.iam.gserviceaccount.com"
        with self.store.lock:
            account = Account(email, f"{10**20 + self.store.next_number()}", self.project)
            account.permissions = frozenset(permissions)
            self.store.accounts[email] = account
            return json.dumps(iam_api.new_key(self.store, account, token_uri=self.token_uri))

    def allow(self, name: str, permissions: Iterable[str]) -> None:
        """Changes what an administrator may do."""
        email = f"{name}@{self.project}.iam.gserviceaccount.com"
        self.store.accounts[email].permissions = frozenset(permissions)

    def add_foreign_bucket(self, name: str, *, labels: Json | None = None) -> None:
        """A bucket of another project: names are shared by all of Google.

        Args:
            name: of the bucket.
            labels: of the bucket; then its owner also lets everybody with a Google account do anything with it.
        """
        uniform = {"uniformBucketLevelAccess": {"enabled": True}}
        resource: Json = {"metageneration": 1, "location": "EU", "labels": labels or {}, "iamConfiguration": uniform}
        policy = default_policy(json_api.FOREIGN)
        if labels is not None:
            policy.bindings.append({"role": "roles/storage.admin", "members": ["allAuthenticatedUsers"]})
        self.store.buckets[name] = Bucket(name, json_api.FOREIGN, resource, policy)

    def principal(self, namespace: str, account: str) -> str:
        """A Kubernetes service account of a GKE cluster of the project, as IAM spells it."""
        pool = f"projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/{self.project}.svc.id.goog"
        return f"principal://iam.googleapis.com/{pool}/subject/ns/{namespace}/sa/{account}"

    def token_of(self, namespace: str, account: str) -> str:
        """What the metadata server of GKE gives to a pod of this Kubernetes service account: a federated token."""
        with self.store.lock:
            return mint_federated(self.store, self.principal(namespace, account))

    def add_external(self, subject_token: str, permissions: Iterable[str] = EVERYTHING) -> str:
        """An identity of another provider, with permissions in the whole project; gives its `principal://` name."""
        pool = f"projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/{OTHER_POOL}"
        member = f"principal://iam.googleapis.com/{pool}/subject/{len(self.store.federated)}"
        with self.store.lock:
            self.store.federated[member] = frozenset(permissions)
            self.store.subject_tokens[subject_token] = member
        return member

    def calls(self) -> list[str]:
        """`METHOD /path` of every request since the last call."""
        with self.store.lock:
            found, self.store.calls = self.store.calls, []
        return found


@contextmanager
def fake_gcs() -> Iterator[FakeGcs]:
    """Runs a fake until the block ends."""
    store = Store(PROJECT)
    handler = type("Handler", (_Handler,), {"store": store})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield FakeGcs(store, f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up, as one does that was killed, is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30
    store: ClassVar[Store]

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(headers.get("content-length") or 0))
        request = Request(self.command, self.path, headers, body)
        self._send(respond(self.store, request))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def handle_expect_100(self) -> bool:
        return True

    def log_message(self, *_: object) -> None:
        pass

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's way to name it


def respond(store: Store, request: Request) -> Answer:
    """Answers one request, with the id that every answer of Google's has."""
    with store.lock:
        store.calls.append(f"{request.method} {request.target}")
        answer = _answer(store, request)
    return replace(answer, headers={"X-GUploader-UploadID": f"ADPycd{secrets.token_hex(16)}", **answer.headers})


def _answer(store: Store, request: Request) -> Answer:
    try:
        _throttle(store)
        if request.path == TOKEN_PATH:
            return mint(store, request)
        if request.path == STS_PATH:
            return exchange(store, request)
        if request.path.startswith("/v1/projects/-/serviceAccounts/"):
            return impersonate(store, request)
        if request.path.startswith("/v1/projects/"):
            return iam_api.handle(store, request)
        if request.path.startswith(_JSON_PATHS):
            return json_api.handle(store, request)
        return xml_api.handle(store, request)
    except ApiError as error:
        if request.path.startswith("/v1/projects/"):
            return error.as_rpc()
        return error.as_json() if request.path.startswith((*_JSON_PATHS, TOKEN_PATH)) else error.as_xml()


def _throttle(store: Store) -> None:
    """https://cloud.google.com/storage/docs/retry-strategy: 429 may come from any API."""
    if store.knobs.throttled_calls > 0:
        store.knobs.throttled_calls -= 1
        headers = {} if store.knobs.retry_after is None else {"Retry-After": store.knobs.retry_after}
        raise ApiError(429, "rateLimitExceeded", "The project exceeded the rate limit.", headers=headers)
