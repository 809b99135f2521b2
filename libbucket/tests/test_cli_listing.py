"""`libbucket list` and `libbucket events`: rows, ages, and what is followed."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from click.testing import CliRunner

from libbucket import _api
from libbucket._cli import stream
from libbucket._cli.ages import age
from libbucket._cli.commands import main
from libbucket._cli.events import cells_of, time_of
from libbucket._cli.listing import rows, written_secrets
from libbucket._cli.stream import Change, follow
from libbucket._cli.table import TablePrinter
from libbucket._kube.errors import ClusterUnavailable, Forbidden, NotFound
from libbucket.testing.builders import a_claim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from libbucket._kube.client import KubeClient

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def claim(**what: Any) -> _api.ObjectBucketClaim:
    return msgspec.convert(a_claim(**what), _api.ObjectBucketClaim)


@pytest.mark.parametrize(
    ("then", "shown"),
    [
        ("2026-03-04T11:59:20Z", "40s"),
        ("2026-03-04T11:48:00Z", "12m"),
        ("2026-03-04T07:00:00+00:00", "5h"),
        ("2026-03-01T12:00:00.123456Z", "2d"),
        ("2026-03-04T12:30:00Z", "0s"),
        ("", ""),
        ("soon", ""),
    ],
)
def test_ages_are_shown_in_their_largest_unit(then: str, shown: str) -> None:
    assert age(then, NOW) == shown


def test_a_row_says_who_has_to_act() -> None:
    ready = {"type": "Ready", "status": "False", "reason": "SecretConflict", "message": "m"}
    (row,) = rows([claim(uid="u1", status={"phase": "Pending", "conditions": [ready]})], {})

    assert (row.claim, row.storage_class, row.phase) == ("shop/photos", "buckets", "Pending")
    assert (row.reason, row.message, row.actor) == ("SecretConflict", "m", "author")


def test_a_claim_without_status_has_no_reason() -> None:
    (row,) = rows([claim()], {})
    assert (row.phase, row.reason, row.actor, row.credentials_since) == ("", "", "", "")


def test_rows_are_sorted_by_namespace_and_name() -> None:
    found = rows([claim(namespace="a-b", name="c"), claim(namespace="a", name="z")], {})
    assert [row.claim for row in found] == ["a/z", "a-b/c"]


def a_secret(uid: str = "u1", **metadata: Any) -> dict[str, Any]:
    owner = {"kind": "ObjectBucketClaim", "name": "photos", "uid": uid, "controller": True}
    named = {"name": "photos", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": {**named, "ownerReferences": [owner], **metadata}}


def test_credentials_are_as_old_as_our_last_write_of_data() -> None:
    fields = [
        {"manager": "libbucket", "time": "2026-02-01T00:00:00Z", "fieldsV1": {"f:data": {}}},
        {"manager": "reloader", "time": "2026-03-01T00:00:00Z", "fieldsV1": {"f:data": {}}},
        {"manager": "libbucket", "time": "2026-03-02T00:00:00Z", "fieldsV1": {"f:metadata": {}}},
    ]
    found = written_secrets([a_secret(managedFields=fields)])

    assert rows([claim(uid="u1")], found)[0].credentials_since == "2026-02-01T00:00:00Z"


def test_credentials_of_another_program_are_as_old_as_their_secret() -> None:
    assert rows([claim(uid="u1")], written_secrets([a_secret()]))[0].credentials_since == "2026-01-01T00:00:00Z"


def test_a_secret_of_another_claim_has_no_age_here() -> None:
    assert rows([claim(uid="u2")], written_secrets([a_secret("u1")]))[0].credentials_since == ""


def test_tables_have_no_control_characters_and_stay_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    printer = TablePrinter(("NAME", "MESSAGE"))
    printer.print([{"NAME": "long-name", "MESSAGE": "[red]a\x1b[31m\nb"}])
    printer.print([{"NAME": "x", "MESSAGE": "c"}])

    assert capsys.readouterr().out == "NAME        MESSAGE\nlong-name   [red]a [31m b\nx           c\n"


class Secrets:
    """An API server with the Secrets of claims, which counts requests; may refuse them."""

    def __init__(self, *, refusal: Exception | None = None) -> None:
        self.requests: list[str] = []
        self._refusal = refusal

    def get(self, path: str, **_: Any) -> bytes:
        self.requests.append(path)
        if self._refusal is not None:
            raise self._refusal
        return msgspec.json.encode(a_secret() if path.endswith("/photos") else {"items": [a_secret()]})


def watched(monkeypatch: pytest.MonkeyPatch, server: Secrets, *batches: list[dict[str, Any]]) -> Result:
    """`list --watch` of claims that come in these batches."""
    changes = [[Change(found=found) for found in batch] for batch in batches]
    monkeypatch.setattr("libbucket._cli.list_claims.connected", lambda _: nullcontext(server))
    monkeypatch.setattr("libbucket._cli.list_claims.follow", lambda *_: iter(changes))
    return CliRunner().invoke(main, ["list", "--watch"])


def test_a_changed_claim_reads_its_own_secret_and_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch of a thousand claims that are bound at once fell behind by minutes."""
    server = Secrets()
    one = a_claim(uid="u1")
    ran = watched(monkeypatch, server, [one, a_claim(name="other")], [one], [one])

    assert ran.exit_code == 0, ran.output
    assert server.requests == ["/api/v1/secrets", *["/api/v1/namespaces/shop/secrets/photos"] * 2]
    assert [line.split()[-1] == "-" for line in ran.stdout.splitlines()[1:]] == [True, False, False, False]


def test_a_missing_permission_on_secrets_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one = a_claim(uid="u1")
    ran = watched(monkeypatch, Secrets(refusal=Forbidden("no")), [one, one], [one], [one])

    assert ran.stderr.count("the age of credentials is unknown") == 1
    assert ran.stdout.count("photos") == 4


def test_a_claim_without_a_secret_has_no_age_and_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = watched(monkeypatch, Secrets(refusal=NotFound("no")), [a_claim(uid="u1")])

    assert ran.stderr == ""
    assert ran.stdout.splitlines()[1].split()[-1] == "-"


@pytest.mark.parametrize("arguments", [(), ("shop/photos",)], ids=" ".join)
def test_no_events_are_told(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libbucket._cli.events.connected", lambda _: nullcontext())
    monkeypatch.setattr("libbucket._cli.events.list_objects", lambda *_: [])
    ran = CliRunner().invoke(main, ["events", *arguments])

    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "", "no events\n")


def test_a_namespace_that_contradicts_the_claim_is_refused() -> None:
    ran = CliRunner().invoke(main, ["events", "shop/photos", "--namespace", "other"])

    assert ran.exit_code == 2
    assert "--namespace" in ran.stderr


def test_an_event_is_as_old_as_its_last_occurrence() -> None:
    about = {"namespace": "shop", "name": "photos"}
    event = {"lastTimestamp": "2026-03-04T11:00:00Z", "eventTime": "x", "involvedObject": about, "reason": "Bound"}
    cells = cells_of(event, NOW)

    assert (cells["AGE"], cells["CLAIM"], cells["COUNT"], cells["REASON"]) == ("1h", "shop/photos", "1", "Bound")
    assert time_of({"series": {"lastObservedTime": "b"}, "lastTimestamp": "a"}) == "b"


class Server:
    """Answers a list and then watches from a script: each watch yields these events and ends."""

    host = "server"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *watches: list[dict[str, Any]] | Exception) -> None:
        self.watches = list(watches)
        self.items: list[dict[str, Any]] = []
        self.waits: list[float] = []
        monkeypatch.setattr(stream, "read_lines", lambda opened, _host, _silence: opened.lines)

    def get(self, _path: str, *, params: dict[str, str], accept: str) -> bytes:
        assert (params["limit"], accept) == ("500", "application/json")
        return msgspec.json.encode({"metadata": {"resourceVersion": "7"}, "items": self.items})

    def open_stream(self, _path: str, *, params: dict[str, str], accept: str, silence: float) -> Opened:
        assert (params["resourceVersion"], params["watch"], accept) == ("7", "1", "application/json")
        assert silence > float(params["timeoutSeconds"])
        found = self.watches.pop(0)
        if isinstance(found, Exception):
            raise found
        return Opened(map(msgspec.json.encode, found))

    def follow(self) -> Iterator[list[Change]]:
        return follow(cast("KubeClient", self), "/path", {}, wait=self.waits.append)


class Opened:
    def __init__(self, lines: Iterator[bytes]) -> None:
        self.lines = lines

    def close(self) -> None:
        pass


def an_object(name: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": version}}


def test_what_is_there_comes_first_and_then_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [{"type": "MODIFIED", "object": an_object("a", "2")}, {"type": "DELETED", "object": an_object("a", "3")}]
    server = Server(monkeypatch, events)
    server.items = [an_object("a", "1"), an_object("b", "1")]
    changes = server.follow()

    assert [change.found["metadata"]["name"] for change in next(changes)] == ["a", "b"]
    assert next(changes) == [Change(found=an_object("a", "2"))]
    assert next(changes) == [Change(found=an_object("a", "3"), is_deleted=True)]


def test_a_watch_that_ends_is_continued_without_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    error = {"type": "ERROR", "object": {"code": 410}}
    server = Server(
        monkeypatch, [error], ClusterUnavailable("away"), [{"type": "ADDED", "object": an_object("b", "2")}]
    )
    server.items = [an_object("a", "1")]
    changes = server.follow()

    assert next(changes) == [Change(found=an_object("a", "1"))]
    assert next(changes) == [Change(found=an_object("b", "2"))]
    assert len(server.waits) == 2
    assert server.waits[1] > server.waits[0] / 2 > 0


@pytest.mark.parametrize("line", [b"<html>", b"[]", b'{"type": "ADDED", "object": 7}', b'{"object": {}}'])
def test_a_line_that_is_no_watch_event_ends_the_watch_and_not_the_command(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(monkeypatch, [], [{"type": "ADDED", "object": an_object("b", "2")}])
    monkeypatch.setattr(stream, "read_lines", lambda opened, *_: [*opened.lines] or [line])
    server.items = [an_object("a", "1")]
    changes = server.follow()

    assert next(changes) == [Change(found=an_object("a", "1"))]
    assert next(changes) == [Change(found=an_object("b", "2"))]


def test_an_object_that_is_nested_too_deep_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = b'{"metadata": {"uid": "a"}, "spec": ' + b'{"a": ' * 5000 + b"1" + b"}" * 5000 + b"}"
    server = Server(monkeypatch, [])
    monkeypatch.setattr(stream, "read_lines", lambda *_: [b'{"type": "ADDED", "object": ' + deep + b"}"])
    changes = server.follow()

    assert next(changes) == []
    assert next(changes)[0].found["metadata"] == {"uid": "a"}


@pytest.mark.parametrize("error", [ClusterUnavailable("away"), Forbidden("no")])
def test_a_first_list_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    server = Server(monkeypatch)

    def refuse(*_arguments: object, **_named: object) -> bytes:
        raise error

    monkeypatch.setattr(server, "get", refuse)
    with pytest.raises(type(error)):
        next(server.follow())
