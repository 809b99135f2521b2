"""A download is complete and has the right hash, or it is one sentence within its time limit."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest
import urllib3

from libbucket.testing import _downloads
from libbucket.testing._downloads import DownloadFailed, Limits, _within, download
from libbucket.testing.processes import free_ports
from testkit.file_server import FileServer, file_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = os.urandom(300_000)
SHA512 = hashlib.sha512(BODY).hexdigest()
ONE_ATTEMPT = Limits(attempts=1)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server(BODY) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(_downloads, "_PAUSE", (0.0, 0.01))


def get(url: str, target: Path, *, sha512: str = SHA512, limits: Limits | None = None) -> None:
    download(url, sha512=sha512, target=target, what="downloading", limits=limits)


def test_a_file_with_the_right_hash_is_downloaded(server: FileServer, tmp_path: Path) -> None:
    get(server.url, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_wrong_hash_is_refused_and_nothing_is_kept(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="has another SHA-512") as failed:
        get(server.url, tmp_path / "file", sha512="0" * 128)

    assert not failed.value.resumable
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 1


def test_a_truncated_body_is_resumed_where_it_ended(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = 100_000

    get(server.url, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == BODY
    assert [asked for _, asked in server.requests] == ["", "bytes=100000-"]


def test_a_truncated_body_is_kept_for_the_next_run(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = 100_000
    with pytest.raises(DownloadFailed, match=r"broke|sent 100000 of 300000") as failed:
        get(server.url, tmp_path / "file", limits=ONE_ATTEMPT)
    assert failed.value.resumable
    assert not (tmp_path / "file").exists()

    get(server.url, tmp_path / "file", limits=ONE_ATTEMPT)

    assert (tmp_path / "file").read_bytes() == BODY
    assert server.requests[-1][1] == "bytes=100000-"


def test_a_server_without_ranges_sends_the_whole_file_again(server: FileServer, tmp_path: Path) -> None:
    server.knows_ranges = False
    server.cut_after = 100_000

    get(server.url, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == BODY


def test_a_file_that_changed_in_between_is_downloaded_from_its_beginning(server: FileServer, tmp_path: Path) -> None:
    server.body, server.cut_after = os.urandom(300_000), 100_000
    with pytest.raises(DownloadFailed):
        get(server.url, tmp_path / "file", limits=ONE_ATTEMPT)
    server.body = BODY

    get(server.url, tmp_path / "file", limits=ONE_ATTEMPT)

    assert (tmp_path / "file").read_bytes() == BODY


def test_a_corrupt_part_is_dropped_and_the_file_downloaded_again(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = 100_000
    with pytest.raises(DownloadFailed):
        get(server.url, tmp_path / "file", limits=ONE_ATTEMPT)
    (tmp_path / "file.part").write_bytes(b"x" * 100_000)

    get(server.url, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == BODY
    assert [asked for _, asked in server.requests] == ["", "bytes=100000-", ""]


def test_a_part_that_is_longer_than_the_file_is_dropped(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"x" * 400_000)
    (tmp_path / "file.etag").write_text(server.etag)

    get(server.url, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == BODY


def test_a_body_that_drips_ends_at_the_time_limit_and_is_kept(server: FileServer, tmp_path: Path) -> None:
    server.drip = 0.01
    started = time.monotonic()

    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1 is too slow: 0\.0 of 0\.3 MB in 0\.3 s") as failed:
        get(server.url, tmp_path / "file", limits=Limits(total=0.3))

    assert failed.value.resumable
    assert time.monotonic() - started < 2
    assert (tmp_path / "file.part").read_bytes() == BODY[: (tmp_path / "file.part").stat().st_size]


def test_a_body_that_stalls_ends_at_the_stall_limit(server: FileServer, tmp_path: Path) -> None:
    server.drip = 30
    with pytest.raises(DownloadFailed, match=r"the connection to 127\.0\.0\.1 broke: .*timed out"):
        get(server.url, tmp_path / "file", limits=Limits(stall=0.2, attempts=1))


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_refusal_is_not_repeated(server: FileServer, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DownloadFailed, match=f"127.0.0.1 answers {status}") as failed:
        get(server.url, tmp_path / "file")
    assert not failed.value.resumable
    assert len(server.requests) == 1


def test_redirects_are_followed(server: FileServer, tmp_path: Path) -> None:
    server.redirects = 2
    get(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_redirects_without_end_are_refused(server: FileServer, tmp_path: Path) -> None:
    server.redirects = 1000
    with pytest.raises(DownloadFailed, match="too many redirects"):
        get(server.url, tmp_path / "file")
    assert len(server.requests) == 6


def test_a_closed_port_fails_at_once(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    started = time.monotonic()
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1 can't be reached: Connection refused"):
        get(f"http://127.0.0.1:{port}/file", tmp_path / "file")
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("is_retried", [False, True], ids=["once", "after retries"])
def test_a_connection_that_is_late_is_told_as_an_answer_that_is_late(*, is_retried: bool) -> None:
    """Both have the same limit, and either may be over first."""
    late = urllib3.exceptions.ConnectTimeoutError(None, "timed out")
    pool = urllib3.HTTPConnectionPool("mirror.example")

    def request() -> urllib3.BaseHTTPResponse:
        raise urllib3.exceptions.MaxRetryError(pool, "/", late) if is_retried else late

    with pytest.raises(DownloadFailed, match=r"^mirror\.example does not answer within 4 s$"):
        _within(4, request, host="mirror.example")


def test_a_server_that_never_answers_fails_within_five_seconds(server: FileServer, tmp_path: Path) -> None:
    server.silent = True
    started = time.monotonic()
    with pytest.raises(
        DownloadFailed, match=r"127\.0\.0\.1 (does not answer within 4 s|can't be reached: .*timed out)"
    ):
        get(server.url, tmp_path / "file")
    assert time.monotonic() - started < 5


def test_name_resolution_that_hangs_counts_towards_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_arguments: object) -> None:
        time.sleep(0.5)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(DownloadFailed, match=r"releases\.invalid does not answer within 0\.1 s"):
        get("http://releases.invalid/file", tmp_path / "file", limits=Limits(answer=0.1))


def test_a_name_that_does_not_resolve_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DownloadFailed, match=r"^releases\.invalid can't be reached: Name or service not known$"):
        get("http://releases.invalid/file", tmp_path / "file")


def test_a_file_that_is_too_large_is_not_downloaded(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="sends 300000 bytes, which is more than can be right"):
        get(server.url, tmp_path / "file", limits=Limits(size=1000))


def test_the_proxy_of_the_environment_is_used(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")

    get("http://releases.invalid/file", tmp_path / "file")

    assert server.requests == [("http://releases.invalid/file", "")]
