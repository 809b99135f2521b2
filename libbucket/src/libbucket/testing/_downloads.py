"""Downloads one file that is known by its SHA-512: within a time limit, resumable, with progress.

Used by `binaries`, which decides what is done instead where a download fails. Knows nothing of what is downloaded.
A partial download stays beside its target and is resumed by the next call; nothing is at the target unless its hash
is right. The caller makes sure that only one download of a target runs at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import random
import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import urllib3

from libbucket.testing.progress import waiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_BLOCK: Final = 2**18
_MEGABYTE: Final = 10**6
_REDIRECTS: Final = 5
_PAUSE: Final = (0.2, 0.6)  # before an interrupted download is resumed, in seconds, drawn at random


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a download may take.

    Attributes:
        answer: seconds until the response has begun: name resolution, redirects and TLS included.
        stall: seconds without a byte of the body.
        total: seconds for everything.
        size: bytes.
        attempts: how often an interrupted download is started or resumed within `total`.
    """

    answer: float = 4.0
    stall: float = 4.0
    total: float = 180.0
    size: int = 500 * _MEGABYTE
    attempts: int = 3


class DownloadFailed(Exception):
    """A file can't be downloaded now.

    Attributes:
        resumable: whether this call received a part that the next call resumes from.
    """

    def __init__(self, message: str, *, resumable: bool = False) -> None:
        super().__init__(message)
        self.resumable = resumable


class _Interrupted(Exception):
    """The connection or the time ended after a part of the body; what came is kept."""


class _Mismatch(Exception):
    """The whole body came, and is not what was asked for."""


def download(url: str, *, sha512: str, target: Path, what: str, limits: Limits | None = None) -> None:
    """Downloads `url` to `target`, whose directory exists.

    Args:
        url: http or https; redirects are followed.
        sha512: hexadecimal digest that the file must have.
        target: file that is written; a partial download is kept as `<target>.part`.
        what: for the progress line: "downloading the control plane".
        limits: time and size; None means the defaults.

    Raises:
        DownloadFailed: no server, a refusal, the time is over, or not the file that was asked for.
        OSError: the file can't be written.
    """
    transfer = _Transfer(url=url, target=target, limits=limits or Limits())
    with waiting(what, detail=transfer.progress):
        transfer.run(sha512)


class _Transfer:
    """One call of `download`."""

    def __init__(self, *, url: str, target: Path, limits: Limits) -> None:
        self._url = url
        self._host = urlsplit(url).hostname or url
        self._target = target
        self._part = target.with_name(f"{target.name}.part")
        self._validator = target.with_name(f"{target.name}.etag")
        self._limits = limits
        self._deadline = time.monotonic() + limits.total
        self._expected = 0
        self._received = 0

    def progress(self) -> str:
        have, of = self._part_size() / _MEGABYTE, self._expected / _MEGABYTE
        return f"{have:.1f} of {of:.1f} MB" if of else f"{have:.1f} MB"

    def run(self, sha512: str) -> None:
        for attempt in range(1, self._limits.attempts + 1):
            resumed = self._part_size() > 0
            try:
                self._fetch()
                self._verify(sha512)
            except _Interrupted as error:
                self._pause_or_fail(str(error), attempt)
            except _Mismatch as error:
                # A part of an older file explains it; a whole file that is wrong stays wrong.
                if not resumed or attempt == self._limits.attempts:
                    raise DownloadFailed(str(error)) from None
                time.sleep(random.uniform(*_PAUSE))  # noqa: S311 - jitter
            else:
                self._part.replace(self._target)
                self._validator.unlink(missing_ok=True)
                return

    def _pause_or_fail(self, reason: str, attempt: int) -> None:
        pause = random.uniform(*_PAUSE)  # noqa: S311 - jitter
        last = attempt == self._limits.attempts or not self._received
        if last or time.monotonic() + pause >= self._deadline:
            raise DownloadFailed(reason, resumable=self._received > 0) from None
        time.sleep(pause)

    def _fetch(self) -> None:
        """Appends to the part what is missing of it, or starts it again."""
        have = self._part_size()
        with _connections(self._url) as pool:
            response = self._open(pool, have)
            try:
                self._store(response, resuming=response.status == 206)
            finally:
                response.close()

    def _open(self, pool: urllib3.PoolManager, have: int) -> urllib3.BaseHTTPResponse:
        headers = {"Accept-Encoding": "identity"}
        validator = self._validator.read_text() if have and self._validator.exists() else ""
        if validator:
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        retries = urllib3.Retry(_REDIRECTS, connect=0, read=0, status=0, other=0, respect_retry_after_header=False)
        timeout = urllib3.Timeout(connect=self._limits.answer, read=self._limits.stall)

        def request() -> urllib3.BaseHTTPResponse:
            return pool.request(
                "GET", self._url, headers=headers, preload_content=False, retries=retries, timeout=timeout
            )

        response = _within(self._limits.answer, request, host=self._host)
        if response.status == 416 or (response.status == 206 and not _continues(response, have)):
            response.close()
            self._discard()
            raise _Mismatch(f"{self._host} has another file than the one that was partly downloaded")
        if response.status not in {200, 206}:
            response.close()
            raise DownloadFailed(f"{self._host} answers {response.status}")
        return response

    def _store(self, response: urllib3.BaseHTTPResponse, *, resuming: bool) -> None:
        start = self._part_size() if resuming else 0
        length = response.headers.get("Content-Length", "")
        self._expected = start + int(length) if length.isdecimal() else 0
        if self._expected > self._limits.size:
            raise DownloadFailed(f"{self._host} sends {self._expected} bytes, which is more than can be right")
        with self._part.open("ab" if resuming else "wb") as file:
            self._remember(response.headers.get("ETag", ""))
            size = start
            while block := self._read(response):
                file.write(block)
                file.flush()  # so that an interruption at any time keeps it
                self._received += len(block)
                size += len(block)
                self._check(size)
        if self._expected and size < self._expected:
            raise _Interrupted(f"{self._host} sent {size} of {self._expected} bytes")

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        try:
            # At most one read of the socket: a slow server can't hold it past the time limit.
            return response.read1(_BLOCK, decode_content=False) or b""
        except urllib3.exceptions.HTTPError as error:
            raise _Interrupted(f"the connection to {self._host} broke: {_cause(error)}") from None

    def _check(self, size: int) -> None:
        if size > self._limits.size:
            self._discard()
            raise DownloadFailed(f"{self._host} sends more than {self._limits.size} bytes")
        if time.monotonic() >= self._deadline:
            raise _Interrupted(f"{self._host} is too slow: {self.progress()} in {self._limits.total:g} s")

    def _verify(self, sha512: str) -> None:
        with self._part.open("rb") as file:
            found = hashlib.file_digest(file, "sha512").hexdigest()
        if found != sha512:
            self._discard()
            raise _Mismatch(f"what {self._host} sent has another SHA-512 than the release, and was removed")

    def _remember(self, etag: str) -> None:
        # Only a strong validator says that two responses are the same bytes.
        if etag.startswith('"'):
            self._validator.write_text(etag)
        else:
            self._validator.unlink(missing_ok=True)

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)
        self._validator.unlink(missing_ok=True)

    def _part_size(self) -> int:
        with contextlib.suppress(OSError):
            return self._part.stat().st_size
        return 0


def _continues(response: urllib3.BaseHTTPResponse, have: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _within(seconds: float, request: Callable[[], urllib3.BaseHTTPResponse], *, host: str) -> urllib3.BaseHTTPResponse:
    """The response, if it begins in time.

    In a thread of its own: the time limits of a socket cover neither name resolution nor the sum over several
    addresses and redirects, each of which may hang where a firewall drops packets.
    """
    answers: queue.SimpleQueue[urllib3.BaseHTTPResponse | urllib3.exceptions.HTTPError] = queue.SimpleQueue()
    given_up = threading.Event()

    def run() -> None:
        try:
            answers.put(request())
        except urllib3.exceptions.HTTPError as error:
            answers.put(error)
        if given_up.is_set():
            _drop(answers)

    threading.Thread(target=run, name="download", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        given_up.set()
        _drop(answers)
        raise _late(host, seconds) from None
    # The limit of the connection is the same one, and may be over first.
    if _is_late(getattr(answer, "reason", answer)):
        raise _late(host, seconds)
    if isinstance(answer, urllib3.exceptions.HTTPError):
        raise DownloadFailed(f"{host} can't be reached: {_cause(answer)}")
    return answer


def _is_late(answer: object) -> bool:
    # A refused connection counts as late in urllib3's hierarchy.
    is_refused = isinstance(answer, urllib3.exceptions.NewConnectionError)
    return isinstance(answer, urllib3.exceptions.TimeoutError) and not is_refused


def _late(host: str, seconds: float) -> DownloadFailed:
    return DownloadFailed(f"{host} does not answer within {seconds:g} s")


def _drop(answers: queue.SimpleQueue[urllib3.BaseHTTPResponse | urllib3.exceptions.HTTPError]) -> None:
    with contextlib.suppress(queue.Empty):
        answer = answers.get_nowait()
        if isinstance(answer, urllib3.BaseHTTPResponse):
            answer.close()


def _connections(url: str) -> urllib3.PoolManager:
    """Through the proxy that the environment names for this host, if any."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy if "://" in proxy else f"http://{proxy}")
    return urllib3.PoolManager()


def _cause(error: BaseException) -> str:
    """The innermost reason, in a few words: the outer ones repeat the address and Python's object names."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    words = seen.strerror if isinstance(seen, OSError) and seen.strerror else str(seen)
    return words.replace("\n", " ") or type(seen).__name__
