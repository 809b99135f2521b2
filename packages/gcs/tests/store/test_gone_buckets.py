"""What is removed is gone where Google says so and its list agrees: no single answer makes a claim forget it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from libbucket import AccessDenied, NotReady, RetrySlowly, StoreRefused
from libbucket.testing import builders
from testkit.gcs.fake import server
from testkit.gcs.fake.model import Account
from testkit.gcs.fake.wire import Answer, ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket import ObjectBucket
    from libbucket.testing.conformance.environment import Environment
    from testkit.gcs.fake import FakeGcs
    from testkit.gcs.fake.model import Store
    from testkit.gcs.fake.wire import Request

    Answering = Callable[..., None]

BUCKET = "/storage/v1/b/[^/]+"
ACCOUNT = "/v1/projects/[^/]+/serviceAccounts/[^/:]+"
KEY = f"{ACCOUNT}/keys/[^/]+"
HMAC_KEY = "/storage/v1/projects/[^/]+/hmacKeys/[^/]+"


def _not_found(reason: str) -> Answer:
    body = {"error": {"code": 404, "errors": [{"reason": reason}]}}
    return Answer(404, json.dumps(body).encode(), {"Content-Type": "application/json"})


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Has requests with this method and path answered so."""

    def answering(method: str, answer: Answer, path: str = BUCKET) -> None:
        real = server._answer

        def instead(store: Store, request: Request) -> Answer:
            is_meant = request.method == method and re.fullmatch(path, request.path)
            return answer if is_meant else real(store, request)

        monkeypatch.setattr(server, "_answer", instead)

    return answering


@pytest.fixture
def bound(environment: Environment) -> ObjectBucket:
    tenant = environment.greenfield()
    tenant.application.put(tenant.bucket, "object", b"data")
    return tenant.record


def _assert_refused_until(
    environment: Environment, bound: ObjectBucket, undo: Callable[[], None], error: type[Exception], *, match: str
) -> None:
    """A deletion ends with this error and leaves the bucket; once answers are Google's own, it removes it."""
    with pytest.raises(error, match=match):
        environment.delete(bound)
    assert environment.administrator.bucket_exists(bound.bucket_name)
    undo()

    environment.delete(bound)
    assert not environment.administrator.bucket_exists(bound.bucket_name)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [(Answer(404), RetrySlowly), (_not_found("SomethingElse"), StoreRefused)],
    ids=["a proxy's", "another reason"],
)
def test_a_404_that_is_not_googles_does_not_end_a_deletion(
    environment: Environment,
    bound: ObjectBucket,
    answering: Answering,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    answer: Answer,
    error: type[Exception],
) -> None:
    answering(method, answer)
    _assert_refused_until(environment, bound, monkeypatch.undo, error, match="404")


def test_an_empty_answer_to_a_deletion_is_not_googles(
    environment: Environment, bound: ObjectBucket, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering("DELETE", Answer(200))
    _assert_refused_until(environment, bound, monkeypatch.undo, RetrySlowly, match="200")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_bucket_that_is_listed_is_not_gone(
    environment: Environment,
    bound: ObjectBucket,
    answering: Answering,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    answering(method, _not_found("notFound"))
    _assert_refused_until(environment, bound, monkeypatch.undo, NotReady, match="lists")


def test_a_bucket_that_is_not_listed_either_is_gone(
    environment: Environment, bound: ObjectBucket, fake: FakeGcs
) -> None:
    del fake.store.buckets[bound.bucket_name]
    environment.delete(bound)
    assert not environment.administrator.identity_exists(bound)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_service_account_that_is_listed_is_not_gone(
    environment: Environment, bound: ObjectBucket, answering: Answering, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    answering(method, ApiError(404, "notFound", "Not found.").as_rpc(), ACCOUNT)
    with pytest.raises(NotReady, match="lists"):
        environment.delete(bound)
    assert environment.administrator.identity_exists(bound)
    monkeypatch.undo()

    environment.delete(bound)
    assert not environment.administrator.identity_exists(bound)


@pytest.mark.parametrize(
    ("kind", "is_shared", "method", "path"),
    [
        pytest.param("json-key", False, "DELETE", KEY, id="json-key, DELETE"),
        pytest.param("json-key", True, "DELETE", KEY, id="json-key of a shared account, DELETE"),
        pytest.param("hmac", False, "PUT", HMAC_KEY, id="hmac, PUT"),
        pytest.param("hmac", False, "DELETE", HMAC_KEY, id="hmac, DELETE"),
        pytest.param("hmac", True, "GET", HMAC_KEY, id="hmac of a shared account, GET"),
        pytest.param("hmac", True, "PUT", HMAC_KEY, id="hmac of a shared account, PUT"),
        pytest.param("hmac", True, "DELETE", HMAC_KEY, id="hmac of a shared account, DELETE"),
    ],
)
def test_a_key_that_is_listed_is_not_gone(
    environment: Environment,
    fake: FakeGcs,
    answering: Answering,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    is_shared: bool,
    method: str,
    path: str,
) -> None:
    shared = json.loads(fake.add_admin("shared", ()))["client_email"] if is_shared else ""
    parameters = {"credentials": kind, "revocationSeconds": "0", **({"serviceAccount": shared} if shared else {})}
    fake.store.accounts.get(shared, Account("", "", "")).keys.clear()  # of the administrator who made it
    request = environment.request(parameters=parameters)
    answer = environment.patiently(environment.provisioner.provision, request)
    record = builders.recorded(answer, request)
    refusal = ApiError(404, "notFound", "Not found.")
    answering(method, refusal.as_rpc() if kind == "json-key" else refusal.as_json(), path)
    with pytest.raises(NotReady, match="lists") as waiting:
        environment.provisioner.revoke(record)
    assert waiting.value.request_id.startswith("ADPycd")
    assert _keys(fake, shared or answer.additional_state["ServiceAccount"])
    monkeypatch.undo()

    environment.revoke(record)
    assert not _keys(fake, shared or answer.additional_state["ServiceAccount"])


def _keys(fake: FakeGcs, email: str) -> list[str]:
    """Ids of what Google lists of an account that is there."""
    account = fake.store.accounts.get(email)
    kept = [name for name, each in fake.store.hmac_keys.items() if each.email == email and each.state != "DELETED"]
    return [] if account is None else [*kept, *account.keys]


def test_the_refusal_of_a_new_key_is_told_with_its_request_id(environment: Environment, fake: FakeGcs) -> None:
    fake.knobs.hmac_start_seconds = 60.0
    with pytest.raises(NotReady, match="does not know the new key") as waiting:
        environment.provisioner.provision(environment.request())
    assert waiting.value.request_id.startswith("ADPycd")


@pytest.mark.parametrize("reason", ["SERVICE_DISABLED", "BILLING_DISABLED", "SECURITY_POLICY_VIOLATED"])
def test_a_fresh_account_hides_no_other_refusal(
    environment: Environment, bound: ObjectBucket, answering: Answering, reason: str
) -> None:
    """It is minutes old: a 403 that says no more than that it may be missing would be waited for."""
    answering("GET", ApiError(403, "forbidden", "Refused.", info=reason).as_rpc(), ACCOUNT)
    with pytest.raises((AccessDenied, StoreRefused), match=r"403|not enabled"):
        environment.provisioner.revoke(bound)


@pytest.mark.parametrize("reason", ["SERVICE_DISABLED", "BILLING_DISABLED", "SECURITY_POLICY_VIOLATED"])
def test_no_account_is_asked_for_where_google_refuses_for_another_reason(
    environment: Environment, fake: FakeGcs, answering: Answering, reason: str
) -> None:
    request = environment.request()
    answer = environment.patiently(environment.provisioner.provision, request)
    fake.knobs.list_lag_seconds = 600
    answering("GET", ApiError(403, "forbidden", "Refused.", info=reason).as_rpc(), ACCOUNT)
    fake.calls()
    with pytest.raises((AccessDenied, StoreRefused), match=r"403|not enabled"):
        environment.provisioner.provision(builders.again(request, answer))
    assert [each for each in fake.calls() if each.startswith("POST") and each.endswith("/serviceAccounts")] == []


def test_a_name_that_is_taken_and_not_seen_is_told_with_its_request_id(
    environment: Environment, answering: Answering
) -> None:
    answering("POST", _conflict(), "/storage/v1/b")
    with pytest.raises(NotReady, match="can't be seen yet") as waiting:
        environment.provisioner.provision(environment.request())
    assert waiting.value.request_id.startswith("ADPycd")


def test_a_bucket_that_google_calls_not_empty_is_told_with_its_request_id(
    environment: Environment, bound: ObjectBucket, answering: Answering
) -> None:
    answering("DELETE", _conflict())
    with pytest.raises(NotReady, match="is not empty") as waiting:
        environment.delete(bound)
    assert waiting.value.request_id.startswith("ADPycd")


def _conflict() -> Answer:
    return ApiError(409, "conflict", "Refused.").as_json()
