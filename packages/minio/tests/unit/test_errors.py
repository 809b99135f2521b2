"""Everything that can be raised becomes an answer of the core's, and says what to fix."""

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
    StoreRefused,
    StoreUnavailable,
    Throttled,
)
from libbucket._outcomes import StoreSignal, store_signal
from minio_provisioner.client import connect
from minio_provisioner.errors import Call, check_response, refused_in_batch, translated
from minio_provisioner.identity import Identity
from minio_provisioner.parameters import Admin, parse_parameters
from minio_provisioner.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minio_provisioner.client import Clients

CALL = Call(url="https://minio.example.com:9000", permission="s3:CreateBucket")
CODES: dict[str, tuple[int, type[ProvisionerError]]] = {
    "AccessDenied": (403, AccessDenied),
    "InvalidAccessKeyId": (403, AccessDenied),
    "SignatureDoesNotMatch": (403, AccessDenied),
    "RequestTimeTooSkewed": (403, AccessDenied),
    "AuthorizationHeaderMalformed": (400, RetrySlowly),
    "InvalidRegion": (400, RetrySlowly),
    "SlowDown": (503, Throttled),
    "SlowDownRead": (503, Throttled),
    "SlowDownWrite": (503, Throttled),
    "TooManyRequests": (503, Throttled),
    "InternalError": (500, StoreUnavailable),
    "ServiceUnavailable": (503, StoreUnavailable),
    "RequestTimeout": (503, StoreUnavailable),
    "XMinioServerNotInitialized": (503, StoreUnavailable),
    "XMinioStorageFull": (507, QuotaExceeded),
    "TooManyBuckets": (400, QuotaExceeded),
    "BucketNotEmpty": (409, NotReady),
    "NoSuchBucket": (404, NotReady),
    "ObjectLocked": (400, BucketNotEmpty),
    "XMinioIAMPolicyInUse": (400, StoreRefused),
    "XMinioIAMActionNotAllowed": (403, StoreRefused),
    "XMinioAdminVersionMismatch": (426, StoreRefused),
    "XMinioMalformedIAMPolicy": (400, StoreRefused),
    "NotImplemented": (501, StoreRefused),
    "InvalidBucketState": (400, StoreRefused),
    "InvalidTokenId": (403, AccessDenied),
    "NobodyKnowsThisCode": (500, StoreUnavailable),
}
"""Each with the status that MinIO gives it."""

ANSWERS = [400, 403, 404, 405, 409, 411, 412, 418, 422, 426]
OUTAGES = [408, 500, 502, 504]


def _translate(error: Exception, call: Call = CALL) -> ProvisionerError:
    with pytest.raises(ProvisionerError) as refused, translated(call):
        raise error
    return refused.value


def _s3(code: str, status: int = 400) -> S3Error:
    response = urllib3.HTTPResponse(body=b"", status=status)
    return S3Error(response, code, "told by the server: s3cr3t", "/bucket", "1", "2")


def _admin(code: str, status: int = 400) -> MinioAdminException:
    return MinioAdminException(str(status), json.dumps({"Code": code, "Message": "s3cr3t"}))


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_s3_has_its_answer(code: str) -> None:
    status, kind = CODES[code]
    error = _translate(_s3(code, status))
    assert type(error) is kind
    assert code in error.message or code == "AccessDenied"
    assert "s3cr3t" not in error.message


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_the_admin_api_has_the_same_answer(code: str) -> None:
    status, kind = CODES[code]
    assert type(_translate(_admin(code, status))) is kind


@pytest.mark.parametrize("made", [_s3, _admin], ids=["s3", "admin"])
@pytest.mark.parametrize("status", ANSWERS)
@pytest.mark.parametrize("code", [*CODES, "NobodyKnowsThisCodeEither"])
def test_an_answer_below_500_is_never_an_outage(code: str, status: int, made: Callable[..., Exception]) -> None:
    error = _translate(made(code, status))
    assert store_signal(error) is not StoreSignal.UNAVAILABLE
    assert "s3:CreateBucket" in error.message or code in CODES


@pytest.mark.parametrize("made", [_s3, _admin], ids=["s3", "admin"])
@pytest.mark.parametrize("status", OUTAGES)
def test_a_failure_with_an_unknown_code_is_an_outage(status: int, made: Callable[..., Exception]) -> None:
    error = _translate(made("NobodyKnowsThisCode", status))
    assert store_signal(error) is StoreSignal.UNAVAILABLE


@pytest.mark.parametrize("code", ["InternalError", "SlowDownWrite", "NobodyKnowsThisCode"])
def test_one_object_that_a_batch_could_not_remove_is_no_outage(code: str) -> None:
    error = refused_in_batch(code, CALL)
    assert store_signal(error) is not StoreSignal.UNAVAILABLE
    assert code in error.message


def test_a_code_of_no_code_s_form_is_not_repeated() -> None:
    error = _translate(_s3("Nobody\nKnows\x1b[31m" + "x" * 1000))
    assert error.message.isprintable()
    assert len(_translate(_s3("X" * 100_000)).message) < 400


def test_a_clock_that_is_wrong_is_named_for_the_admin_api_too() -> None:
    """MinIO refuses such a request before it reaches the admin API, and so in XML."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>RequestTimeTooSkewed</Code><Message>The difference '
        "between the request time and the server's time is too large.</Message><RequestId>1</RequestId></Error>"
    )
    error = _translate(MinioAdminException("403", body))
    assert isinstance(error, AccessDenied)
    assert "clock" in error.message


def test_ldap_is_named_where_minio_makes_no_users() -> None:
    assert "LDAP" in _translate(_admin("XMinioIAMActionNotAllowed", 403)).message


@pytest.mark.parametrize("code", ["XMinioAdminVersionMismatch", "NotImplemented", "XMinioMalformedIAMPolicy"])
def test_a_server_that_is_too_old_is_named_with_the_release_that_is_needed(code: str) -> None:
    assert "RELEASE.2024-01-05" in _translate(_admin(code, 426)).message


def test_an_answer_of_a_release_that_is_too_old_for_the_client_is_named() -> None:
    """201 to the attachment of a policy: until RELEASE.2023-07, and refused by MinIO's client."""
    with pytest.raises(StoreRefused, match="RELEASE") as refused:
        check_response(urllib3.HTTPResponse(body=b"\x00\xff", status=201), CALL.url)
    assert "admin:AttachUserOrGroupPolicy" in refused.value.message


def test_what_keeps_versioning_is_named() -> None:
    message = _translate(_s3("InvalidBucketState")).message
    assert "site replication" in message
    assert "additionalConfig.bucketVersioning" in message


OTHER_SERVERS = {
    "NoSuchBucket": 404,  # Ceph, moto, AWS: the admin API's path is a bucket's and a key's to them
    "NoSuchKey": 404,
    "MethodNotAllowed": 405,
    "NoSuchResource": 404,  # RustFS: `iam_error_to_s3_error` in its `rustfs/src/admin/handlers/iam_error.rs`
}


@pytest.mark.parametrize(("code", "status"), OTHER_SERVERS.items())
def test_a_server_without_minio_s_admin_api_is_named(code: str, status: int) -> None:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>s3cr3t</Message></Error>"
    call = Call(url=CALL.url, permission="admin:GetPolicy")
    error = _translate(MinioAdminException(str(status), body), call)
    assert type(error) is RetrySlowly
    assert "admin API" in error.message
    assert "parameter endpoint" in error.message


def test_a_bucket_without_quota_because_it_is_gone_is_not_taken_for_another_server() -> None:
    call = Call(url=CALL.url, permission="admin:GetBucketQuota")
    assert type(_translate(_admin("NoSuchBucket", 404), call)) is NotReady


def test_a_refused_permission_is_named() -> None:
    assert "s3:CreateBucket" in _translate(_s3("AccessDenied")).message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MinioAdminException("502", "<html>bad gateway</html>"), StoreUnavailable),
        (MinioAdminException("404", "404 page not found"), RetrySlowly),
        (MinioAdminException("404", "[]"), RetrySlowly),
        (MinioAdminException("404", "[" * 100_000), RetrySlowly),
        (MinioAdminException("404", "<a>" * 100_000), RetrySlowly),
        (MinioAdminException("408", ""), StoreUnavailable),
        (InvalidResponseError(502, "text/plain", "bad gateway"), StoreUnavailable),
        (InvalidResponseError(404, "text/plain", "not found"), RetrySlowly),
        (InvalidResponseError(408, "text/plain", "slow"), StoreUnavailable),
        (ServerError("failed", 500), StoreUnavailable),
        (ServerError("failed", 304), RetrySlowly),
        (MinioException("anything"), StoreUnavailable),
        (ParseError("no XML"), RetrySlowly),
        (ValueError("no JSON"), RetrySlowly),
        (ConnectionResetError("reset"), StoreUnavailable),
        (TimeoutError("slow"), StoreUnavailable),
        (urllib3.exceptions.ProtocolError("cut"), StoreUnavailable),
        (ssl.SSLError(1, "alert"), StoreUnavailable),
    ],
    ids=lambda one: repr(one)[:60],
)
def test_nothing_falls_through(error: Exception, kind: type[ProvisionerError]) -> None:
    assert type(_translate(error)) is kind


def test_an_error_of_the_core_is_passed_on() -> None:
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
    """Answers everything with a page, as a proxy or a console does, and redirects nowhere."""

    status: ClassVar[int] = 200
    headers_sent: ClassVar[dict[str, str]] = {"Content-Type": "text/html; charset=utf-8"}
    page = b"<html>Welcome</html>"

    def do_GET(self) -> None:
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.page)

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


@contextmanager
def _connected(url: str, *, read_seconds: float = 5.0) -> Iterator[Clients]:
    parameters = parse_parameters({"endpoint": url, "secretName": "a", "secretNamespace": "b"})
    admin = Admin(access_key="key", secret_key=SecretStr("secret"))
    with connect(parameters, admin, fence=lambda: None, read_seconds=read_seconds) as clients:
        yield clients


def _calls(clients: Clients) -> list[Callable[[], object]]:
    storage, identity = Storage(clients=clients), Identity(clients=clients, user="user", policy="user")
    return [lambda: storage.find_tags("bucket"), identity.find, lambda: storage.remove("bucket")]


def _first_calls(url: str, *, read_seconds: float = 5.0) -> list[ProvisionerError]:
    errors = []
    with _connected(url, read_seconds=read_seconds) as clients:
        for call in _calls(clients):
            with pytest.raises(ProvisionerError) as refused:
                call()
            errors.append(refused.value)
    return errors


class _BadGateway(_WebPage):
    status = 502


class _Refusing(_WebPage):
    status = 403
    headers_sent: ClassVar[dict[str, str]] = {"Content-Type": "application/xml", "x-amz-request-id": "ID-1"}
    page = b"<Error><Code>NobodyKnowsThisCode</Code></Error>"


class _Rambling(_Refusing):
    headers_sent: ClassVar[dict[str, str]] = {
        "Content-Type": "application/xml",
        "x-amz-request-id": "\xe9" + "x" * 1000,
    }


@pytest.mark.parametrize("handler", [_WebPage, _Elsewhere])
def test_a_web_page_is_distinguished_from_minio_for_every_request(handler: type[BaseHTTPRequestHandler]) -> None:
    with _serving(handler) as url:
        for error in _first_calls(url):
            assert type(error) is RetrySlowly
            assert "parameter endpoint" in error.message


def test_a_page_of_a_proxy_whose_server_is_down_is_an_outage() -> None:
    with _serving(_BadGateway) as url:
        for error in _first_calls(url):
            assert store_signal(error) is StoreSignal.UNAVAILABLE
            assert "502" in error.message


@pytest.mark.parametrize("call", range(3))
@pytest.mark.parametrize(
    ("handler", "request_id"),
    [(_Refusing, "ID-1"), (_Rambling, ""), (_WebPage, "")],
    ids=["refusal", "rubbish", "page"],
)
def test_an_error_has_the_request_id_of_its_answer(
    handler: type[BaseHTTPRequestHandler], request_id: str, call: int
) -> None:
    with _serving(handler) as url, pytest.raises(ProvisionerError) as refused, _connected(url) as clients:
        _calls(clients)[call]()
    assert refused.value.request_id == request_id


def test_an_error_without_an_answer_has_no_request_id() -> None:
    with _serving(_Refusing) as url, pytest.raises(StoreUnavailable) as refused, _connected(url) as clients:
        _answered_and_then_not(clients)
    assert refused.value.request_id == ""


def _answered_and_then_not(clients: Clients) -> None:
    with pytest.raises(StoreRefused):
        _calls(clients)[0]()
    assert clients.pool.request_id == "ID-1"
    with _silence() as closed:
        pass
    with translated(CALL):
        clients.pool.urlopen("GET", closed)


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


def test_a_refused_connection_and_an_unknown_name_are_distinguished() -> None:
    with _silence() as url:
        pass
    assert "is refused" in _first_calls(url)[0].message
    assert "resolved" in _first_calls("http://no-such-host.invalid:9000")[0].message
