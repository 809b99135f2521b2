"""Everything that can be raised becomes an answer of the core's, and says what to mend."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, ClassVar
from xml.etree.ElementTree import ParseError

import pytest
import urllib3
from minio.error import InvalidResponseError, MinioAdminException, MinioException, S3Error, ServerError

from libbucket import (
    AccessDenied,
    BucketNotEmpty,
    NotReady,
    ProvisionerError,
    QuotaExceeded,
    RetrySlowly,
    RetrySoon,
    SecretStr,
    StoreUnavailable,
    Throttled,
)
from minio_provisioner.client import connect
from minio_provisioner.errors import Call, check_response, translated
from minio_provisioner.identity import Identity
from minio_provisioner.parameters import Admin, parse_parameters
from minio_provisioner.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

CALL = Call(url="https://minio.example.com:9000", permission="s3:CreateBucket")
CODES: dict[str, type[ProvisionerError]] = {
    "AccessDenied": AccessDenied,
    "InvalidAccessKeyId": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "XMinioAccessKeyDisabled": AccessDenied,
    "RequestTimeTooSkewed": AccessDenied,
    "AuthorizationHeaderMalformed": RetrySlowly,
    "InvalidRegion": RetrySlowly,
    "SlowDown": Throttled,
    "SlowDownRead": Throttled,
    "SlowDownWrite": Throttled,
    "TooManyRequests": Throttled,
    "InternalError": StoreUnavailable,
    "ServiceUnavailable": StoreUnavailable,
    "RequestTimeout": StoreUnavailable,
    "XMinioServerNotInitialized": StoreUnavailable,
    "XMinioStorageFull": QuotaExceeded,
    "TooManyBuckets": QuotaExceeded,
    "BucketNotEmpty": NotReady,
    "NoSuchBucket": NotReady,
    "ObjectLocked": BucketNotEmpty,
    "XMinioAdminPolicyInUse": RetrySlowly,
    "NobodyKnowsThisCode": StoreUnavailable,
}


def _translate(error: Exception, call: Call = CALL) -> ProvisionerError:
    with pytest.raises(ProvisionerError) as refused, translated(call):
        raise error
    return refused.value


def _s3(code: str, status: int = 400) -> S3Error:
    response = urllib3.HTTPResponse(body=b"", status=status)
    return S3Error(response, code, "told by the server: s3cr3t", "/bucket", "1", "2")


@pytest.mark.parametrize(("code", "kind"), CODES.items(), ids=CODES)
def test_every_code_of_s3_has_its_answer(code: str, kind: type[ProvisionerError]) -> None:
    error = _translate(_s3(code))
    assert type(error) is kind
    assert code in error.message or code == "AccessDenied"
    assert "s3cr3t" not in error.message


@pytest.mark.parametrize(("code", "kind"), CODES.items(), ids=CODES)
def test_every_code_of_the_admin_api_has_the_same_answer(code: str, kind: type[ProvisionerError]) -> None:
    assert type(_translate(MinioAdminException("400", json.dumps({"Code": code, "Message": "s3cr3t"})))) is kind


def test_a_refused_permission_is_named() -> None:
    assert "s3:CreateBucket" in _translate(_s3("AccessDenied")).message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MinioAdminException("502", "<html>bad gateway</html>"), StoreUnavailable),
        (MinioAdminException("404", "404 page not found"), RetrySlowly),
        (MinioAdminException("404", "[]"), RetrySlowly),
        (InvalidResponseError(502, "text/plain", "bad gateway"), StoreUnavailable),
        (InvalidResponseError(404, "text/plain", "not found"), RetrySlowly),
        (ServerError("failed", 500), StoreUnavailable),
        (MinioException("anything"), StoreUnavailable),
        (ParseError("no XML"), RetrySlowly),
        (ValueError("no JSON"), RetrySlowly),
        (ConnectionResetError("reset"), StoreUnavailable),
        (TimeoutError("slow"), StoreUnavailable),
        (urllib3.exceptions.ProtocolError("cut"), StoreUnavailable),
        (ssl.SSLError(1, "alert"), StoreUnavailable),
    ],
    ids=repr,
)
def test_nothing_falls_through(error: Exception, kind: type[ProvisionerError]) -> None:
    assert type(_translate(error)) is kind


def test_an_error_of_ours_is_left_as_it_is() -> None:
    error = NotReady("soon", delay=3)
    assert _translate(error) is error


@pytest.mark.parametrize(
    ("code", "word"), [(19, "caBundle"), (20, "caBundle"), (62, "another host"), (10, "not valid")]
)
def test_what_is_wrong_with_a_certificate_is_said(code: int, word: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "certificate has expired"
    told = _translate(urllib3.exceptions.SSLError(error))
    assert isinstance(told, RetrySlowly)
    assert word in told.message


@pytest.mark.parametrize(
    ("header", "delay"),
    [(None, None), ("60", 60.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), ("-5", None)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_delay_that_a_busy_server_asks_for_is_kept(status: int, header: str | None, delay: float | None) -> None:
    headers = {} if header is None else {"Retry-After": header}
    with pytest.raises(Throttled) as refused:
        check_response(urllib3.HTTPResponse(body=b"", status=status, headers=headers), CALL.url)
    assert refused.value.delay == delay


class _WebPage(BaseHTTPRequestHandler):
    """Answers everything with a page, as a proxy or a console does, and sends nobody anywhere."""

    status: ClassVar[int] = 200
    headers_sent: ClassVar[dict[str, str]] = {"Content-Type": "text/html; charset=utf-8"}

    def do_GET(self) -> None:
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"<html>Welcome</html>")

    do_DELETE = do_GET  # noqa: N815 - http.server's way to name it

    def log_message(self, *_: object) -> None:
        pass


class _Busy(_WebPage):
    status = 503
    headers_sent: ClassVar[dict[str, str]] = {"Content-Type": "application/xml", "Retry-After": "7"}


class _Elsewhere(_WebPage):
    status = 301
    headers_sent: ClassVar[dict[str, str]] = {"Content-Type": "text/html", "Location": "http://127.0.0.1:1/"}


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _silence() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def _first_calls(url: str, *, read_seconds: float = 5.0) -> list[ProvisionerError]:
    parameters = parse_parameters({"endpoint": url, "secretName": "a", "secretNamespace": "b"})
    admin = Admin(access_key="key", secret_key=SecretStr("secret"))
    errors = []
    with connect(parameters, admin, fence=lambda: None, read_seconds=read_seconds) as clients:
        storage, identity = Storage(clients=clients), Identity(clients=clients, user="user", policy="user")
        for call in (lambda: storage.find_tags("bucket"), identity.exists, lambda: storage.remove("bucket")):
            with pytest.raises(ProvisionerError) as refused:
                call()
            errors.append(refused.value)
    return errors


@pytest.mark.parametrize("handler", [_WebPage, _Elsewhere])
def test_a_web_page_is_told_from_minio_whatever_is_asked(handler: type[BaseHTTPRequestHandler]) -> None:
    with _serving(handler) as url:
        for error in _first_calls(url):
            assert type(error) is RetrySlowly
            assert "parameter endpoint" in error.message


def test_a_busy_server_is_not_waited_for_but_its_delay_handed_on() -> None:
    with _serving(_Busy) as url:
        began = time.monotonic()
        for error in _first_calls(url):
            assert isinstance(error, Throttled)
            assert error.delay == 7
    assert time.monotonic() - began < 5


def test_a_server_that_never_answers_is_given_up_within_the_limit() -> None:
    with _silence() as url:
        began = time.monotonic()
        for error in _first_calls(url, read_seconds=0.2):
            assert isinstance(error, RetrySoon)
            assert "time limit" in error.message
    assert time.monotonic() - began < 5


def test_nobody_listening_and_nobody_of_that_name_are_told_apart() -> None:
    with _silence() as url:
        pass
    assert "is refused" in _first_calls(url)[0].message
    assert "resolved" in _first_calls("http://no-such-host.invalid:9000")[0].message
