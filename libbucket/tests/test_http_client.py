"""Requests to a store without an SDK: one attempt, one time limit, and an error of libbucket for every answer."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

import pytest

from libbucket import (
    AccessDenied,
    AccessKeys,
    BucketNotEmpty,
    BucketNotFound,
    HttpApi,
    InvalidAdminSecret,
    InvalidClaim,
    InvalidParameters,
    ProvisionerError,
    QuotaExceeded,
    SecretStr,
    StoreRefused,
    StoreUnavailable,
    Throttled,
    basic,
    bearer,
)
from libbucket.testing.certificates import Authority
from libbucket.testing.http_store import http_store
from libbucket.testing.misbehaving import (
    Answer,
    closed_port_url,
    dripping_server,
    scripted_server,
    silent_server,
)

if TYPE_CHECKING:
    from libbucket import HttpClient

API = HttpApi(name="Depot", seconds=5)
HASTY = HttpApi(name="Depot", seconds=0.3)
JSON = {"Content-Type": "application/json", "X-Request-Id": "r-1"}
MARK = "a-text-of-the-body"


def nothing() -> None:
    """Lets every request pass."""


def client(url: str, api: HttpApi = API) -> HttpClient:
    return api.connect(url, nothing)


def answer(status: int, code: str = "", **headers: str) -> Answer:
    body = json.dumps({"code": code, "message": MARK}).encode() if code else b""
    return Answer(status=status, headers={**JSON, **headers}, body=body)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (answer(301, Location="http://127.0.0.1/"), InvalidParameters),
        (answer(400, "Bad"), StoreRefused),
        (answer(401, "WhoAreYou"), AccessDenied),
        (answer(403, "No"), AccessDenied),
        (answer(404, "Gone"), StoreRefused),
        (answer(408), StoreUnavailable),
        (answer(409, "Exists"), StoreRefused),
        (answer(418), StoreRefused),
        (answer(429), Throttled),
        (answer(500, "Oops"), StoreUnavailable),
        (answer(503), StoreUnavailable),
        (answer(503, **{"Retry-After": "7"}), Throttled),
        (Answer(status=200, headers={"Content-Type": "text/html"}, body=b"<html>Welcome"), InvalidParameters),
        (Answer(status=404, headers={"Content-Type": "text/html"}, body=b"default backend"), InvalidParameters),
        (Answer(status=502, headers={"Content-Type": "text/html"}, body=b"Bad Gateway"), StoreUnavailable),
    ],
)
def test_each_status_is_one_error_after_one_request(given: Answer, kind: type[ProvisionerError]) -> None:
    with scripted_server(given, Answer()) as server, client(server.url) as store:
        with pytest.raises(kind) as refused:
            store.request("PUT", "buckets", "photos", json={"tags": {}})
        assert server.requests == ["PUT /buckets/photos"]
    assert refused.value.request_id == ("r-1" if "X-Request-Id" in given.headers else "")


def test_an_accepted_status_is_returned() -> None:
    with scripted_server(answer(404, "NoSuchBucket")) as server, client(server.url) as store:
        found = store.request("GET", "buckets", "photos", accept={404})
    assert (found.status, found.json()["code"], found.request_id) == (404, "NoSuchBucket", "r-1")


def test_an_accepted_status_of_something_else_is_not_taken_for_the_stores() -> None:
    page = Answer(status=404, headers={"Content-Type": "text/plain"}, body=b"404 page not found")
    with scripted_server(page) as server, client(server.url) as store, pytest.raises(InvalidParameters):
        store.request("DELETE", "buckets", "photos", accept={404})


@pytest.mark.parametrize(("value", "delay"), [("7", 7.0), ("soon", None)])
def test_the_delay_of_the_store_is_passed_on(value: str, delay: float | None) -> None:
    busy = answer(429, **{"Retry-After": value})
    with scripted_server(busy) as server, client(server.url) as store, pytest.raises(Throttled) as refused:
        store.request("GET", "buckets")
    assert refused.value.delay == delay


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_an_answer_that_drips_ends_at_the_limit_of_the_whole(start: bytes) -> None:
    with dripping_server(start) as server, client(server.url, HASTY) as store:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="whole answer"):
            store.request("GET", "buckets")
        assert time.monotonic() - began < 5
        assert server.connections == 1


def test_a_store_that_never_answers_is_asked_once() -> None:
    with silent_server() as server, client(server.url, HASTY) as store:
        with pytest.raises(StoreUnavailable):
            store.request("GET", "buckets")
        assert server.connections == 1


def test_a_closed_port_is_an_outage_and_a_word_that_is_no_host_too() -> None:
    with client(closed_port_url()) as store, pytest.raises(StoreUnavailable, match="refused"):
        store.request("GET", "buckets")
    with client("http://no-such-host.invalid") as store, pytest.raises(StoreUnavailable, match="resolved"):
        store.request("GET", "buckets")


def test_a_server_without_tls_is_a_mistake_in_the_class() -> None:
    with scripted_server(Answer()) as server:
        store = client(server.url.replace("http:", "https:"))
        with store, pytest.raises(InvalidParameters, match="speaks no TLS"):
            store.request("GET", "buckets")


def test_authorities_must_be_certificates() -> None:
    with pytest.raises(InvalidParameters, match="PEM"):
        API.connect("https://depot.invalid", nothing, ca_bundle="no certificate")
    API.connect("https://depot.invalid", nothing, ca_bundle=Authority().certificate_pem.decode()).close()


def test_the_hook_is_called_before_each_request_and_its_exception_is_unchanged() -> None:
    class Frozen(Exception):
        pass

    def hold() -> None:
        raise Frozen

    with scripted_server(answer(200)) as server, API.connect(server.url, hold) as store:
        with pytest.raises(Frozen):
            store.request("GET", "buckets")
        assert server.requests == []


def test_a_name_stays_one_part_of_the_path() -> None:
    with scripted_server(answer(200)) as server, client(f"{server.url}/api/") as store:
        store.request("GET", "buckets", "../users?x=1", query={"limit": "1"})
        assert server.requests == ["GET /api/buckets/..%2Fusers%3Fx%3D1?limit=1"]
        for name in ("..", ".", ""):
            with pytest.raises(InvalidClaim):
                store.request("DELETE", "buckets", name)
        assert len(server.requests) == 1


def test_a_credential_that_cannot_be_a_header_is_refused_without_its_value() -> None:
    with scripted_server(answer(200)) as server, client(server.url) as store:
        with pytest.raises(InvalidAdminSecret) as refused:
            store.request("GET", "buckets", headers={"Authorization": SecretStr("Bearer s3cr3t\nX: y")})
        assert server.requests == []
    assert "s3cr3t" not in str(refused.value) + repr(refused.value)


@pytest.mark.parametrize("status", [200, 400, 403, 500])
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_no_error_no_repr_and_no_log_line_repeats_a_body(
    status: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = f'{{"code": "{MARK} with spaces", "message": "{MARK}"}}'.encode()
    given = Answer(status=status, headers={"Content-Type": kind, "X-Secret": MARK}, body=body)
    with caplog.at_level(logging.DEBUG), scripted_server(given) as server, client(server.url) as store:
        try:
            told = repr(store.request("GET", "buckets"))
        except ProvisionerError as error:
            told = f"{error} {error!r} {error.__cause__!r}"
    assert MARK not in told + caplog.text


def test_a_body_that_is_too_long_or_too_deep_is_refused() -> None:
    small = HttpApi(name="Depot", seconds=5, max_bytes=1000)
    deep = Answer(headers=JSON, body=b"[" * 100_000)
    with scripted_server(Answer(headers=JSON, body=b'"' + b"x" * 2000 + b'"'), deep) as server:
        with client(server.url, small) as store, pytest.raises(StoreRefused, match="1,000 bytes"):
            store.request("GET", "buckets")
        with client(server.url) as store, pytest.raises(InvalidParameters, match="no JSON"):
            store.request("GET", "buckets").json()


def test_an_error_names_the_request_and_the_stores_code() -> None:
    with scripted_server(answer(409, "BucketExists")) as server:
        store = client(server.url)
        with store, pytest.raises(StoreRefused) as refused:
            store.request("PUT", "buckets", "photos")
    assert str(refused.value).endswith("PUT /buckets/photos was answered with HTTP 409 BucketExists")


def test_an_error_about_an_accepted_answer_gets_its_request_id() -> None:
    def find(url: str) -> None:
        with client(url) as store:
            store.request("GET", "buckets", "photos", accept={404})
            raise BucketNotFound("bucket photos does not exist")

    with scripted_server(answer(404, "NoSuchBucket")) as server, pytest.raises(BucketNotFound) as refused:
        find(server.url)
    assert refused.value.request_id == "r-1"


def test_a_code_with_an_error_of_its_own_is_raised_as_that_below_500_only() -> None:
    api = HttpApi(name="Depot", seconds=5, errors={"Full": QuotaExceeded})
    with scripted_server(answer(409, "Full"), answer(500, "Full")) as server, client(server.url, api) as store:
        with pytest.raises(QuotaExceeded, match="HTTP 409 Full"):
            store.request("PUT", "buckets", "photos")
        with pytest.raises(StoreUnavailable):
            store.request("PUT", "buckets", "photos")


@pytest.mark.parametrize(
    ("key", "body", "kind"),
    [
        ("error.type", {"error": {"type": "BucketNotEmpty"}}, BucketNotEmpty),
        ("error.type", {"error": {"type": "Other"}}, StoreRefused),
        ("error.type", {"error": "BucketNotEmpty"}, StoreRefused),
        ("error.type", {"type": "BucketNotEmpty"}, StoreRefused),
        ("error", {"error": "BucketNotEmpty"}, BucketNotEmpty),
        ("error", {"error": {"type": "BucketNotEmpty"}}, StoreRefused),
        ("code", ["BucketNotEmpty"], StoreRefused),
    ],
)
def test_a_code_is_found_where_the_api_has_it_and_nowhere_else(
    key: str, body: object, kind: type[ProvisionerError]
) -> None:
    api = HttpApi(name="Depot", seconds=5, code_key=key, errors={"BucketNotEmpty": BucketNotEmpty})
    given = Answer(status=409, headers=JSON, body=json.dumps(body).encode())
    with scripted_server(given) as server, client(server.url, api) as store, pytest.raises(kind) as refused:
        store.request("DELETE", "buckets", "photos")
    assert type(refused.value) is kind


@pytest.mark.parametrize(
    ("status", "kind", "raised"),
    [
        (409, "application/problem+json; charset=utf-8", BucketNotEmpty),
        (409, "application/json", InvalidParameters),
        (200, "application/problem+json", InvalidParameters),
    ],
)
def test_errors_may_have_a_media_type_of_their_own(status: int, kind: str, raised: type[ProvisionerError]) -> None:
    errors = {"BucketNotEmpty": BucketNotEmpty}
    api = HttpApi(name="Depot", seconds=5, error_media_type="application/problem+json", errors=errors)
    given = Answer(status=status, headers={"Content-Type": kind}, body=b'{"code": "BucketNotEmpty"}')
    with scripted_server(Answer(headers=JSON, body=b"{}"), given) as server, client(server.url, api) as store:
        assert store.request("GET", "buckets", "photos").status == 200
        with pytest.raises(raised):
            store.request("DELETE", "buckets", "photos")


def test_credentials_of_one_request_are_sent_without_those_of_the_client() -> None:
    with http_store() as running, API.connect(running.url, nothing, headers=bearer(SecretStr(running.token))) as store:
        store.request("PUT", "buckets", "photos", json={})
        made = store.request("PUT", "users", "ann", json={"bucket": "photos"}).json()
        keys = AccessKeys(access_key_id=made["key"], secret_access_key=SecretStr(made["secret"]))
        own = {"X-Key": SecretStr("of the claim")}

        assert store.request("GET", "buckets", "photos", headers={"X-Purpose": "a test"}).status == 200
        assert store.request("GET", "buckets", "photos", headers=own, accept={401}).status == 401
        assert store.request("GET", "buckets", "photos", headers=basic(keys), accept={403}).status == 403
        assert store.request("GET", "buckets", "photos", "objects", headers=basic(keys)).status == 200


def test_what_is_there_is_found_and_what_is_gone_is_none() -> None:
    there = Answer(status=200, headers=JSON, body=b'{"tags": {}}')
    with scripted_server(there) as server, client(server.url) as store:
        assert store.find("buckets", "photos", query={"full": "1"}) == {"tags": {}}
    with scripted_server(answer(404, "NoSuchBucket")) as server, client(server.url) as store:
        assert store.find("buckets", "photos") is None
    with scripted_server(answer(403)) as server, client(server.url) as store, pytest.raises(AccessDenied):
        store.find("buckets", "photos")
    assert server.requests == ["GET /buckets/photos"]


def test_the_404_of_a_proxy_does_not_mean_that_something_is_gone() -> None:
    page = Answer(status=404, headers={"Content-Type": "text/html"}, body=b"<html>")
    with scripted_server(page) as server, client(server.url) as store, pytest.raises(InvalidParameters):
        store.find("buckets", "photos")


def test_credentials_are_headers_that_do_not_print() -> None:
    keys = AccessKeys(access_key_id="key", secret_access_key=SecretStr("secret"))

    assert bearer(SecretStr("token"))["Authorization"].reveal() == "Bearer token"
    assert basic(keys)["Authorization"].reveal() == "Basic a2V5OnNlY3JldA=="
    assert "token" not in repr(bearer(SecretStr("token")))


def test_an_edited_secret_of_a_megabyte_is_cut_in_a_header() -> None:
    keys = AccessKeys(access_key_id="key", secret_access_key=SecretStr("x" * 2**20))

    assert len(basic(keys)["Authorization"].reveal()) < 2000
