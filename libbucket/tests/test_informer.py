"""The informer against a small API server that ends lists and watches in every way."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from libbucket._api import ObjectBucketClaim
from libbucket._kube.cache import Cache
from libbucket._kube.client import KubeClient
from libbucket._kube.client_config import Address, ClientConfig
from libbucket._kube.informer import PAGE_SIZE, Informer, WatchSettings
from libbucket._kube.resources import CLAIMS, SECRET_METADATA
from libbucket.testing import builders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from libbucket._kube.resources import Resource

Wire = dict[str, Any]
SECONDS = 10.0
"""The most that a test waits for what has to happen."""


def claim(name: str, version: int, **spec: Any) -> Wire:
    return builders.a_claim(name=name, resourceVersion=str(version), spec=spec)


def event(kind: str, body: Wire) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


def bookmark(version: int) -> bytes:
    return event("BOOKMARK", {"kind": "ObjectBucketClaim", "metadata": {"resourceVersion": str(version)}})


def status(code: int, message: str = "no") -> Wire:
    return {"kind": "Status", "code": code, "message": message, "reason": "Any"}


@dataclass
class Answer:
    """One answer of the server.

    Attributes:
        body: the whole of a list's, or the first bytes of a watch's.
        code: the HTTP status.
        headers: besides the usual ones.
        ends: what a watch does after its bytes: "open" stays silent, "clean" ends, "broken" hangs up.
        restores: the version that etcd is put back to once this was answered; 0 if it is not.
        chunked: whether a watch comes in chunks, or as it does through an old proxy.
    """

    body: bytes = b""
    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ends: str = "open"
    restores: int = 0
    chunked: bool = True


def page(*items: Any, version: int = 10, more: str = "") -> Answer:
    metadata = {"resourceVersion": str(version)} | ({"continue": more} if more else {})
    return Answer(body=json.dumps({"metadata": metadata, "items": list(items)}).encode())


def refusal(code: int, **headers: str) -> Answer:
    return Answer(body=json.dumps(status(code)).encode(), code=code, headers=headers)


def watch(*events: bytes, ends: str = "open", restores: int = 0, chunked: bool = True) -> Answer:
    return Answer(body=b"".join(events), ends=ends, restores=restores, chunked=chunked)


@dataclass
class Server:
    """What it answers: lists and watches each in their order, the last list again and again, then silent watches.

    Attributes:
        lists: answers to come.
        watches: answers to come.
        requests: the queries that came, without those for the present version (a list of one object).
    """

    lists: deque[Answer]
    watches: deque[Answer]
    requests: list[dict[str, str]] = field(default_factory=list)
    accepts: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    closing: threading.Event = field(default_factory=threading.Event)
    extra: deque[bytes] = field(default_factory=deque)
    version: int = 0

    def take(self, path: str, query: dict[str, str], accept: str) -> Answer:
        with self.changed:
            if query.get("limit") == "1":
                return page(version=self.version)
            self.requests.append(query)
            self.paths.append(path)
            self.accepts.append(accept)
            self.changed.notify_all()
            if "watch" in query:
                return self._served(self.watches.popleft() if self.watches else watch())
            return self._served(self.lists.popleft() if len(self.lists) > 1 else self.lists[0])

    def _served(self, answer: Answer) -> Answer:
        """The version of a server never decreases, unless its etcd was restored."""
        told = [int(number) for number in re.findall(rb'"resourceVersion": "(\d+)"', answer.body)]
        self.version = answer.restores or max([self.version, *told])
        return answer

    def send(self, *events: bytes) -> None:
        """Sends further events on the open watch."""
        with self.changed:
            self.extra.extend(events)
            self.changed.notify_all()

    def wait_for_requests(self, count: int) -> list[dict[str, str]]:
        """The first `count` requests, once they came."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, SECONDS), self.requests
            return self.requests[:count]

    @property
    def watched(self) -> list[str]:
        """The versions from which was watched."""
        return [one["resourceVersion"] for one in self.requests if "watch" in one]

    @property
    def listed(self) -> int:
        """How often a list was begun."""
        return sum("watch" not in one and "continue" not in one for one in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Server
    _is_chunked = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        answer = self.script.take(url.path, query, self.headers["Accept"])
        if "watch" in query and answer.code == 200:
            self._stream(answer)
        else:
            self._head(answer, {"Content-Length": str(len(answer.body))})
            self.wfile.write(answer.body)

    def _head(self, answer: Answer, more: dict[str, str]) -> None:
        self.send_response(answer.code)
        for name, value in {"Content-Type": "application/json", **answer.headers, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, answer: Answer) -> None:
        self._is_chunked = answer.chunked
        self._head(answer, {"Transfer-Encoding": "chunked"} if answer.chunked else {"Connection": "close"})
        self._chunk(answer.body)
        while answer.ends == "open" and not self.script.closing.is_set():
            with self.script.changed:
                self.script.changed.wait_for(lambda: self.script.extra or self.script.closing.is_set(), 0.1)
                more = b"".join(self.script.extra)
                self.script.extra.clear()
            self._chunk(more)
        self.close_connection = True
        if answer.ends == "clean" and answer.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n" if self._is_chunked else data)
            self.wfile.flush()

    def handle(self) -> None:
        with suppress(OSError):  # the informer hung up
            super().handle()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def serving(lists: Sequence[Answer], watches: Sequence[Answer] = ()) -> Iterator[tuple[Server, str]]:
    script = Server(deque(lists), deque(watches))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"script": script}))
    server.daemon_threads = True
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield script, f"http://127.0.0.1:{server.server_port}"
    finally:
        script.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(SECONDS)


Change = tuple[str, str]


@dataclass
class Run:
    """A running informer, its cache, its server, and its notifications.

    Attributes:
        changes: (old, new) as `name@version`, "" for none.
    """

    server: Server
    cache: Cache[Any]
    informer: Informer[Any] = field(init=False)
    thread: threading.Thread = field(init=False)
    changes: list[Change] = field(default_factory=list)
    told: threading.Condition = field(default_factory=threading.Condition)

    def on_change(self, old: Any, new: Any) -> None:
        with self.told:
            self.changes.append((_brief(old), _brief(new)))
            self.told.notify_all()

    def wait_for(self, *changes: Change) -> None:
        """Waits for exactly these notifications."""
        with self.told:
            self.told.wait_for(lambda: len(self.changes) >= len(changes), SECONDS)
            assert self.changes == list(changes)

    @property
    def known(self) -> set[str]:
        """What is in the cache, as `name@version`."""
        return {_brief(one) for one in self.cache}


def _brief(one: Any) -> str:
    return f"{one.metadata.name}@{one.metadata.resource_version}" if one is not None else ""


@contextmanager
def running(
    lists: Sequence[Answer],
    watches: Sequence[Answer] = (),
    *,
    resource: Resource[Any] = CLAIMS,
    known: Sequence[ObjectBucketClaim] = (),
    silence: float = 60.0,
    before: Callable[[Run], None] = lambda _: None,
    **what: Any,
) -> Iterator[Run]:
    """An informer at work, stopped at the end of the block."""
    with serving(lists, watches) as (server, host):
        client = KubeClient(ClientConfig(address=Address(host=host)))
        cache: Cache[Any] = Cache(resource.type)
        for one in known:
            cache.observe(one)
        settings = WatchSettings(lifetime=60, silence=silence)
        run = Run(server, cache)
        run.informer = Informer(client, resource, cache=cache, on_change=run.on_change, settings=settings, **what)
        run.thread = threading.Thread(target=run.informer.run, daemon=True)
        before(run)
        run.thread.start()
        try:
            yield run
        finally:
            run.informer.stop()
            run.thread.join(SECONDS)
            client.close()
        assert not run.thread.is_alive()


class Waits(threading.Event):
    """The informer's stop event, which notes how long it was to wait, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return super().wait(0.001)


def without_waiting(run: Run) -> None:
    run.informer._stop = Waits()


def waits_of(run: Run) -> list[float]:
    stop = run.informer._stop
    assert isinstance(stop, Waits)
    return stop.seconds


# Lists.


def test_a_list_fills_the_cache_and_notifies_of_each_object() -> None:
    with running([page(claim("a", 1), claim("b", 2))]) as run:
        run.wait_for(("", "a@1"), ("", "b@2"))
        assert run.informer.synced.wait(SECONDS)
        assert run.known == {"a@1", "b@2"}


def test_a_list_comes_in_pages_and_the_watch_begins_at_its_version() -> None:
    pages = [page(claim("a", 1), version=9, more="two"), page(claim("b", 2), version=9, more="three"), page(version=9)]
    with running(pages) as run:
        requests = run.server.wait_for_requests(4)

    assert [one.get("continue", "") for one in requests[:3]] == ["", "two", "three"]
    assert {one["limit"] for one in requests[:3]} == {str(PAGE_SIZE)}
    assert run.server.watched == ["9"]


def test_the_cache_is_not_synced_before_the_last_page() -> None:
    with running([page(claim("a", 1), more="two"), refusal(500), page(claim("a", 1))], before=without_waiting) as run:
        run.server.wait_for_requests(2)
        assert run.informer.synced.wait(SECONDS)
        assert run.server.listed == 2


def test_an_empty_list_is_synced_as_well() -> None:
    with running([Answer(body=b'{"metadata": {"resourceVersion": "4"}, "items": null}')]) as run:
        assert run.informer.synced.wait(SECONDS)
        assert run.known == set()


def test_a_page_token_that_expired_begins_the_list_again() -> None:
    lists = [page(claim("a", 1), more="two"), refusal(410), page(claim("b", 12), version=12)]
    with running(lists, before=without_waiting) as run:
        run.wait_for(("", "a@1"), ("", "b@12"), ("a@1", ""))
        requests = run.server.wait_for_requests(4)

    assert [one.get("continue", "") for one in requests[:3]] == ["", "two", ""]
    assert run.server.watched == ["12"]


def test_a_selector_and_a_namespace_go_with_every_request() -> None:
    with running([page(more="two"), page()], namespace="shop", selector="bucket-provisioner=x") as run:
        requests = run.server.wait_for_requests(3)

    assert {one["labelSelector"] for one in requests} == {"bucket-provisioner=x"}
    assert set(run.server.paths) == {"/apis/objectbucket.io/v1alpha1/namespaces/shop/objectbucketclaims"}


def test_only_metadata_of_secrets_are_requested() -> None:
    with running([page()], resource=SECRET_METADATA) as run:
        run.server.wait_for_requests(2)

    assert run.server.accepts == [
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    ]


@pytest.mark.parametrize("bad", [{"metadata": {"name": "bad"}, "spec": {"bucketName": 5}}, {"spec": []}, "text", None])
def test_one_object_that_cant_be_read_is_left_out_of_a_list(bad: Any) -> None:
    with running([page(claim("a", 1), bad, claim("b", 2))]) as run:
        run.wait_for(("", "a@1"), ("", "b@2"))
        assert run.informer.synced.wait(SECONDS)


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"", b"{}", b"[]", b'{"metadata": {}, "items": 5}'])
def test_an_answer_that_is_no_list_is_retried(body: bytes) -> None:
    with running([Answer(body=body), page(claim("a", 1))], before=without_waiting) as run:
        run.wait_for(("", "a@1"))


@pytest.mark.parametrize("code", [401, 403, 404, 429, 500, 503])
def test_a_list_that_is_refused_is_retried(code: int) -> None:
    with running([refusal(code), refusal(code), page(claim("a", 1))], before=without_waiting) as run:
        run.wait_for(("", "a@1"))
        assert run.informer.synced.wait(SECONDS)


def test_the_wait_between_tries_grows() -> None:
    with running([*[refusal(500)] * 6, page()], before=without_waiting) as run:
        assert run.informer.synced.wait(SECONDS)
        waits = waits_of(run)

    assert len(waits) == 6
    assert waits[0] <= 0.5
    assert waits[5] >= 8


def test_retry_after_of_the_server_is_honoured() -> None:
    with running([refusal(429, **{"Retry-After": "17"}), page()], before=without_waiting) as run:
        assert run.informer.synced.wait(SECONDS)
        assert waits_of(run) == [17.0]


# Watches.


def test_a_watch_notifies_of_additions_changes_and_deletions() -> None:
    events = [
        event("ADDED", claim("b", 11)),
        event("MODIFIED", claim("a", 12)),
        event("DELETED", claim("b", 13)),
    ]
    with running([page(claim("a", 1))], [watch(*events)]) as run:
        run.wait_for(("", "a@1"), ("", "b@11"), ("a@1", "a@12"), ("b@11", ""))
        assert run.known == {"a@12"}


def test_an_event_that_comes_in_pieces_is_one_event() -> None:
    whole = event("ADDED", claim("a", 11))
    with running([page()]) as run:
        run.server.wait_for_requests(2)
        for start in range(0, len(whole), 20):
            run.server.send(whole[start : start + 20])
        run.wait_for(("", "a@11"))


def test_a_watch_asks_for_bookmarks_and_for_an_end() -> None:
    with running([page()]) as run:
        asked = run.server.wait_for_requests(2)[1]

    assert asked["allowWatchBookmarks"] == "true"
    assert 60 <= int(asked["timeoutSeconds"]) <= 90


def test_a_closed_watch_resumes_from_the_last_version() -> None:
    with running([page(version=10)], [watch(event("ADDED", claim("a", 15)), ends="clean")]) as run:
        run.server.wait_for_requests(3)
        assert run.server.watched == ["10", "15"]
        assert run.server.listed == 1


def test_a_bookmark_advances_the_version_without_a_notification() -> None:
    with running([page(version=10)], [watch(bookmark(40), ends="clean")]) as run:
        run.server.wait_for_requests(3)
        assert run.server.watched == ["10", "40"]
        assert run.changes == []


@pytest.mark.parametrize("end", [b'{"type": "ADDED", "obj', b'{"type": "ADDED", "obj\n'])
@pytest.mark.parametrize("ends", ["broken", "clean"])
def test_a_watch_interrupted_within_an_event_resumes_from_the_one_before(end: bytes, ends: str) -> None:
    broken = watch(event("ADDED", claim("a", 11)), end, ends=ends)
    with running([page(version=10)], [broken, watch(event("ADDED", claim("b", 12)))], before=without_waiting) as run:
        run.wait_for(("", "a@11"), ("", "b@12"))
        assert run.server.watched == ["10", "11"]
        assert run.server.listed == 1


def test_a_watch_whose_version_is_too_old_lists_again() -> None:
    lists = [page(claim("a", 1), version=10), page(claim("a", 20), version=20)]
    with running(lists, [refusal(410)], before=without_waiting) as run:
        run.wait_for(("", "a@1"), ("a@1", "a@20"))
        run.server.wait_for_requests(4)
        assert run.server.watched == ["10", "20"]


def test_an_expired_version_lists_again() -> None:
    lists = [page(claim("a", 1), version=10), page(claim("a", 20), version=20)]
    gone = watch(event("ERROR", status(410, "too old resource version")), ends="clean")
    with running(lists, [gone], before=without_waiting) as run:
        run.wait_for(("", "a@1"), ("a@1", "a@20"))
        run.server.wait_for_requests(4)
        assert run.server.watched == ["10", "20"]


def test_another_error_in_a_watch_resumes_from_the_same_version() -> None:
    failing = watch(event("ERROR", status(500)), ends="clean")
    with running([page(version=10)], [failing], before=without_waiting) as run:
        run.server.wait_for_requests(3)
        assert run.server.watched == ["10", "10"]
        assert run.server.listed == 1


@pytest.mark.parametrize(
    "line",
    [
        b'{"type": "ERROR", "object": "text"}\n',
        b'{"type": "ADDED"}\n',
        b"[]\n",
        b"null\n",
        b'{"object": {}}\n',
        b"<html>\n",
    ],
)
def test_a_line_that_is_no_event_breaks_the_watch_and_not_the_informer(line: bytes) -> None:
    with running(
        [page(version=10)], [watch(line), watch(event("ADDED", claim("a", 11)))], before=without_waiting
    ) as run:
        run.wait_for(("", "a@11"))


@pytest.mark.parametrize("bad", [{"metadata": {"name": "bad"}, "spec": {"bucketName": 5}}, {"spec": []}, "text", None])
def test_one_object_that_cant_be_read_is_left_out_of_a_watch(bad: Any) -> None:
    with running([page()], [watch(event("ADDED", bad), event("ADDED", claim("a", 12)))]) as run:
        run.wait_for(("", "a@12"))
        assert len(run.server.watched) == 1


def test_a_silent_watch_is_closed_and_resumes_from_the_same_version() -> None:
    with running([page(version=10)], silence=0.2, before=without_waiting) as run:
        run.server.wait_for_requests(3)
        assert run.server.watched[:2] == ["10", "10"]
        assert run.server.listed == 1


def test_two_silent_watches_in_a_row_list_again() -> None:
    lists = [page(claim("a", 1), version=10), page(claim("a", 20), version=20)]
    with running(lists, silence=0.2, before=without_waiting) as run:
        run.wait_for(("", "a@1"), ("a@1", "a@20"))
        assert run.server.watched[:2] == ["10", "10"]


def test_an_event_between_two_silences_keeps_the_version() -> None:
    watches = [watch(), watch(event("ADDED", claim("a", 11)))]
    with running([page(version=10)], watches, silence=0.2, before=without_waiting) as run:
        assert _wait_until_watched(run, 4)
        assert run.server.watched[:4] == ["10", "10", "11", "11"]
        assert run.server.listed == 1


def test_an_event_is_delivered_at_once_also_through_an_http_1_0_proxy() -> None:
    with running([page()], [watch(event("ADDED", claim("a", 11)), chunked=False)]) as run:
        run.wait_for(("", "a@11"))
        run.server.send(event("MODIFIED", claim("a", 12)))
        run.wait_for(("", "a@11"), ("a@11", "a@12"))


@pytest.mark.parametrize("chunked", [True, False])
def test_a_watch_that_trickles_without_ever_ending_an_event_is_given_up(chunked: bool) -> None:
    trickle = watch(b'{"type": ', chunked=chunked)
    with running([page(version=10)], [trickle], silence=0.3, before=without_waiting) as run:
        deadline = time.monotonic() + SECONDS
        while len(run.server.watched) < 2:
            assert time.monotonic() < deadline
            run.server.send(b" ")
            with run.server.changed:
                run.server.changed.wait(0.02)
        assert run.server.watched[:2] == ["10", "10"]


def test_a_refused_watch_waits_for_retry_after() -> None:
    with running([page(version=10)], [refusal(429, **{"Retry-After": "9"})], before=without_waiting) as run:
        run.server.wait_for_requests(3)
        assert waits_of(run) == [9.0]
        assert run.server.watched == ["10", "10"]
        assert run.server.listed == 1


@pytest.mark.parametrize(
    "failing",
    [
        pytest.param(watch(ends="clean"), id="ends at once"),
        pytest.param(watch(ends="broken"), id="hangs up at once"),
        pytest.param(refusal(403), id="not allowed to watch"),
        pytest.param(refusal(410), id="always too old"),
        pytest.param(watch(event("ERROR", status(410)), ends="clean"), id="always told that it is too old"),
        pytest.param(watch(event("ERROR", status(500)), ends="clean"), id="always an error"),
    ],
)
def test_a_watch_that_never_works_is_tried_less_and_less_often(failing: Answer) -> None:
    with running([page(version=10)], [failing] * 6, before=without_waiting) as run:
        assert _wait_until_watched(run, 7)
        waits = waits_of(run)

    assert len(waits) == 6
    assert waits[5] >= 8


def _wait_until_watched(run: Run, count: int) -> bool:
    with run.server.changed:
        return run.server.changed.wait_for(lambda: len(run.server.watched) >= count, SECONDS)


def test_a_successful_watch_resets_the_back_off() -> None:
    failing = watch(event("ERROR", status(500)), ends="clean")
    good = watch(event("ADDED", claim("a", 11)), ends="clean")
    with running([page(version=10)], [*[failing] * 5, good, failing], before=without_waiting) as run:
        assert _wait_until_watched(run, 8)
        waits = waits_of(run)

    assert len(waits) == 6
    assert waits[4] >= 4
    assert waits[5] <= 0.5


# An etcd that was restored from a snapshot.


def test_a_history_that_went_back_while_the_server_was_away_replaces_everything() -> None:
    lists = [page(claim("kept", 80), claim("ghost", 90), version=100), page(claim("kept", 50), version=60)]
    away = watch(event("ADDED", claim("later", 110)), ends="broken", restores=60)
    with running(lists, [away, watch(event("ADDED", claim("later", 61)))], before=without_waiting) as run:
        run.wait_for(
            ("", "kept@80"),
            ("", "ghost@90"),
            ("", "later@110"),
            ("kept@80", "kept@50"),
            ("ghost@90", ""),
            ("later@110", ""),
            ("", "later@61"),
        )
        assert run.known == {"kept@50", "later@61"}
        assert run.server.watched[:2] == ["100", "60"]


@pytest.mark.parametrize("told", [bookmark(60), event("MODIFIED", claim("kept", 60))])
def test_a_watch_that_goes_backwards_lists_again(told: bytes) -> None:
    lists = [page(claim("kept", 80), version=100), page(claim("kept", 50), version=60)]
    with running(lists, [watch(told, restores=60)], before=without_waiting) as run:
        run.wait_for(("", "kept@80"), ("kept@80", "kept@50"))
        assert _wait_until_watched(run, 2)
        assert run.server.watched == ["100", "60"]


def test_an_object_that_was_deleted_after_the_snapshot_is_back_with_the_restored_history() -> None:
    lists = [page(claim("a", 80), version=100), page(claim("a", 50), version=60)]
    away = watch(event("DELETED", claim("a", 110)), ends="broken", restores=60)
    with running(lists, [away, watch(event("MODIFIED", claim("a", 61)))], before=without_waiting) as run:
        run.wait_for(("", "a@80"), ("a@80", ""), ("", "a@50"), ("a@50", "a@61"))


def test_a_list_keeps_later_writes_of_this_process() -> None:
    lists = [page(claim("a", 1), claim("gone", 2), version=10), page(claim("a", 1), version=20)]
    with running(lists, before=without_waiting) as run:
        run.server.wait_for_requests(2)
        run.cache.observe(typed("a", 30))
        run.cache.observe(typed("made", 31))
        run.server.send(event("ERROR", status(410)))
        run.wait_for(("", "a@1"), ("", "gone@2"), ("gone@2", ""))
        assert run.known == {"a@30", "made@31"}


# Unexpected exceptions.

DEEP = b"[" * 20_000 + b"]" * 20_000


def odd_claim(name: str, version: int, inside: bytes) -> bytes:
    metadata = f'"metadata": {{"name": "{name}", "namespace": "shop", "resourceVersion": "{version}"'.encode()
    return b"{" + metadata + inside + b"}"


READABLE = [
    pytest.param(b'}, "other": ' + DEEP, id="deep nesting beside what is read"),
    pytest.param(b'}, "spec": {"additionalConfig": {"a": ' + DEEP + b"}}", id="deep nesting in it"),
    pytest.param(b', "annotations": {"a": "\xff"}}', id="bytes that are no text"),
    pytest.param(b', "annotations": {"a": "\\ud800"}}', id="half of a character"),
    pytest.param(b'}, "other": ' + b"9" * 5000, id="a long number beside what is read"),
]
UNREADABLE = [
    pytest.param(b', "generation": ' + b"9" * 5000 + b"}", id="a number too large"),
    pytest.param(b'}, "spec": {"additionalConfig": {"a": 1e999}}', id="a number out of range"),
]


@pytest.mark.parametrize("inside", READABLE)
def test_an_odd_object_in_a_list_is_read_as_far_as_it_matters(inside: bytes) -> None:
    items = b", ".join([json.dumps(claim("a", 1)).encode(), odd_claim("odd", 2, inside)])
    listed = Answer(body=b'{"metadata": {"resourceVersion": "10"}, "items": [' + items + b"]}")
    with running([listed]) as run:
        run.wait_for(("", "a@1"), ("", "odd@2"))


@pytest.mark.parametrize("inside", READABLE)
def test_an_odd_object_in_a_watch_is_read_as_far_as_it_matters(inside: bytes) -> None:
    line = b'{"type": "ADDED", "object": ' + odd_claim("odd", 11, inside) + b"}\n"
    with running([page()], [watch(line, event("ADDED", claim("a", 12)))]) as run:
        run.wait_for(("", "odd@11"), ("", "a@12"))
        assert len(run.server.watched) == 1


@pytest.mark.parametrize("inside", UNREADABLE)
def test_an_odd_object_that_cant_be_read_stays_as_it_was_and_the_others_go_on(inside: bytes) -> None:
    items = b", ".join([odd_claim("odd", 20, inside), json.dumps(claim("a", 21)).encode()])
    listed = Answer(body=b'{"metadata": {"resourceVersion": "30"}, "items": [' + items + b"]}")
    line = b'{"type": "MODIFIED", "object": ' + odd_claim("odd", 11, inside) + b"}\n"
    watches = [watch(line, event("ADDED", claim("a", 12)), event("ERROR", status(410)))]
    with running([page(claim("odd", 1)), listed], watches, before=without_waiting) as run:
        run.wait_for(("", "odd@1"), ("", "a@12"), ("a@12", "a@21"))
        assert run.known == {"odd@1", "a@21"}


@pytest.mark.parametrize("error", [RuntimeError("odd"), ValueError("odd"), RecursionError("odd"), OSError("odd")])
def test_an_unexpected_exception_is_logged_and_retried(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    retain = Cache.retain
    errors = [error]

    def raises_once(self: Cache[Any], *args: Any, **kwargs: Any) -> Any:
        if errors:
            raise errors.pop()
        return retain(self, *args, **kwargs)

    monkeypatch.setattr(Cache, "retain", raises_once)
    with running([page(claim("a", 1))], [watch(event("ADDED", claim("b", 11)))], before=without_waiting) as run:
        run.wait_for(("", "a@1"), ("", "b@11"))
        assert len(waits_of(run)) == 1
    said = capsys.readouterr().out
    assert said.count("an internal error") == 1
    assert f"{type(error).__name__}: odd" in said


def test_a_failing_callback_does_not_affect_other_events(capsys: pytest.CaptureFixture[str]) -> None:
    def fails_for_one(run: Run) -> None:
        def on_change(old: Any, new: Any) -> None:
            if "odd" in _brief(new):
                raise RuntimeError("no idea")
            run.on_change(old, new)

        run.informer._on_change = on_change

    watches = [watch(event("ADDED", claim("odd", 11)), event("ADDED", claim("b", 12)))]
    with running([page(claim("odd", 1), claim("a", 2))], watches, before=fails_for_one) as run:
        run.wait_for(("", "a@2"), ("", "b@12"))
        assert len(run.server.watched) == 1
    assert "object=shop/odd" in capsys.readouterr().out


class BrokenLog:
    """Of a process whose standard error was closed."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        def fails(*_: Any, **__: Any) -> None:
            raise BrokenPipeError(32, "Broken pipe")

        return fails


def test_a_log_that_cannot_be_written_does_not_stop_the_watch() -> None:
    def with_broken_log(run: Run) -> None:
        without_waiting(run)
        run.informer._log = BrokenLog()

    bad = {"metadata": {"name": "bad"}, "spec": []}
    watches = [refusal(500), watch(event("ADDED", bad), event("ADDED", claim("b", 12)))]
    with running([refusal(403), page(claim("a", 1), bad)], watches, before=with_broken_log) as run:
        run.wait_for(("", "a@1"), ("", "b@12"))


# When the server was last heard.


def test_a_list_an_event_and_a_bookmark_are_contacts() -> None:
    with running([page()]) as run:
        contacts = [run.informer.last_contact]
        for line in (event("ADDED", claim("a", 11)), bookmark(12), event("ADDED", {"spec": []})):
            run.server.wait_for_requests(2)
            run.server.send(line)
            deadline = time.monotonic() + SECONDS
            while run.informer.last_contact <= contacts[-1] and time.monotonic() < deadline:
                time.sleep(0.005)
            contacts.append(run.informer.last_contact)
    assert contacts == sorted(set(contacts))


@pytest.mark.parametrize("answer", [refusal(500), refusal(403), Answer(body=b"<html>")])
def test_a_refusal_is_no_contact(answer: Answer) -> None:
    with running([answer], before=without_waiting) as run:
        begin = run.informer.last_contact
        run.server.wait_for_requests(5)
        assert run.informer.last_contact == begin


# The cache under it.


def typed(name: str, version: int) -> ObjectBucketClaim:
    return msgspec.convert(claim(name, version), ObjectBucketClaim)


def test_a_list_removes_deleted_objects_and_keeps_newer_ones() -> None:
    known = [typed("gone", 5), typed("just-made", 50)]
    with running([page(claim("a", 1), version=10)], known=known) as run:
        run.wait_for(("", "a@1"), ("gone@5", ""))
        assert run.known == {"a@1", "just-made@50"}


def test_a_list_of_one_namespace_keeps_objects_of_others() -> None:
    other = msgspec.convert(builders.a_claim(namespace="bank", resourceVersion="5"), ObjectBucketClaim)
    with running([page(claim("a", 1))], known=[other], namespace="shop") as run:
        assert run.informer.synced.wait(SECONDS)
        assert len(run.known) == 2


def test_our_own_write_is_not_overwritten_by_an_older_event_and_not_notified() -> None:
    events = [event("MODIFIED", claim("a", 11)), event("MODIFIED", claim("a", 12)), event("ADDED", claim("end", 13))]
    with running([page(claim("a", 1))]) as run:
        run.server.wait_for_requests(2)
        run.cache.observe(typed("a", 12))
        run.server.send(*events)
        run.wait_for(("", "a@1"), ("", "end@13"))
        assert run.known == {"a@12", "end@13"}


def test_a_deletion_older_than_our_own_write_is_ignored() -> None:
    with running([page(claim("a", 1))]) as run:
        run.server.wait_for_requests(2)
        run.cache.observe(typed("a", 20))
        run.server.send(event("DELETED", claim("a", 12)), event("ADDED", claim("end", 21)))
        run.wait_for(("", "a@1"), ("", "end@21"))
        assert run.known == {"a@20", "end@21"}


# The end.


def test_stop_interrupts_a_watch_that_waits_for_bytes() -> None:
    with running([page()]) as run:
        run.server.wait_for_requests(2)
        run.informer.stop()
        run.thread.join(SECONDS)
        assert not run.thread.is_alive()


def test_stop_interrupts_a_back_off() -> None:
    with running([refusal(429, **{"Retry-After": "3600"})]) as run:
        run.server.wait_for_requests(1)
        run.informer.stop()
        run.thread.join(SECONDS)
        assert not run.thread.is_alive()


def test_stop_interrupts_the_opening_of_a_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    with running([page()], before=lambda run: _stop_on_opening(run, monkeypatch)) as run:
        run.thread.join(SECONDS)
        assert not run.thread.is_alive()


def _stop_on_opening(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    open_stream = KubeClient.open_stream

    def opened(self: KubeClient, *args: Any, **what: Any) -> Any:
        stream = open_stream(self, *args, **what)
        run.informer.stop()
        return stream

    monkeypatch.setattr(KubeClient, "open_stream", opened)


def test_stop_may_come_after_the_watch_ended_by_itself() -> None:
    with running([page()], [watch(ends="clean")]) as run:
        run.server.wait_for_requests(2)
        run.informer._stream = _Closed()  # type: ignore[assignment]
        run.informer.stop()


class _Closed:
    """A stream that the watch has closed meanwhile."""

    def shutdown(self) -> None:
        raise RuntimeError("Cannot shutdown as connection has already been released to the pool")


def test_stopping_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with running([page()]) as run:
        run.server.wait_for_requests(2)

    assert "retrying" not in capsys.readouterr().out


def test_a_failure_and_its_recovery_are_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    recovered = watch(event("ADDED", claim("a", 11)))
    with running([page()], [*[refusal(403)] * 5, recovered], before=without_waiting) as run:
        run.wait_for(("", "a@11"))

    said = capsys.readouterr().out
    assert said.count("retrying") == 1
    assert said.count("list and watch recovered") == 1
