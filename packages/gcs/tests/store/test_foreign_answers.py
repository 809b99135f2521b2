"""Answers with status 200 that are not Google's, or not of the form that was asked for: a captive portal, a proxy.

No such answer may stand for "there is nothing": what it would have a verb write or forget can't be got back.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from libbucket import ProvisionerError, RetrySlowly
from libbucket.testing import builders
from testkit.gcs.fake import server
from testkit.gcs.fake.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.testing.conformance.environment import Environment
    from testkit.gcs.fake import FakeGcs
    from testkit.gcs.fake.model import Store
    from testkit.gcs.fake.wire import Request

    Answering = Callable[..., None]

BUCKET = "/storage/v1/b/[^/]+"
POLICY = "/storage/v1/b/[^/]+/iam"
ACCOUNT_POLICY = "/v1/projects/[^/]+/serviceAccounts/[^/]+:getIamPolicy"
NOTHING = [b"{}", b"[]", b"null", b'"x"', b"", b"<html>Sign in to the network</html>", b'{"kind": "storage#']


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Has requests with this method and path answered by a 200 with this body."""

    def answering(method: str, path: str, body: bytes) -> None:
        real = server._answer

        def instead(store: Store, request: Request) -> Answer:
            is_meant = request.method == method and re.fullmatch(path, request.path)
            return Answer(200, body, {"Content-Type": "application/json"}) if is_meant else real(store, request)

        monkeypatch.setattr(server, "_answer", instead)

    return answering


@pytest.mark.parametrize(
    "body", [*NOTHING, b'{"bindings": []}', b'{"etag": "", "bindings": []}', b'{"etag": "x", "bindings": {}}']
)
def test_a_policy_is_never_written_after_an_answer_that_is_none(
    environment: Environment, fake: FakeGcs, answering: Answering, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """A policy without an etag would replace whatever is there: all bindings, those of administrators among them."""
    tenant = environment.brownfield(environment.foreign_bucket())
    policy = fake.store.buckets[tenant.bucket].policy
    policy.bindings.append({"role": "roles/storage.objectViewer", "members": ["user:jane@example.com"]})
    before = json.dumps(policy.bindings)
    answering("GET", POLICY, body)
    for verb in (
        lambda: environment.provisioner.grant(builders.again(tenant.request, tenant.answer)),
        lambda: environment.provisioner.revoke(tenant.record),
    ):
        with pytest.raises(RetrySlowly, match="not Google's"):
            verb()
        assert json.dumps(policy.bindings) == before
    monkeypatch.undo()

    environment.revoke(tenant.record)
    assert not environment.administrator.identity_exists(tenant.record)


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"bindings": []}'])
def test_the_policy_of_an_account_is_never_written_after_an_answer_that_is_none(
    environment: Environment, fake: FakeGcs, answering: Answering, body: bytes
) -> None:
    request = environment.request(parameters={"credentials": "workload-identity"})
    answer = environment.patiently(environment.provisioner.provision, request)
    policy = fake.store.accounts[answer.additional_state["ServiceAccount"]].policy
    policy.bindings.append({"role": "roles/iam.serviceAccountUser", "members": ["user:jane@example.com"]})
    before = json.dumps(policy.bindings)
    answering("POST", ACCOUNT_POLICY, body)
    with pytest.raises(RetrySlowly, match="not Google's"):
        environment.provisioner.provision(builders.again(request, answer))
    assert json.dumps(policy.bindings) == before


@pytest.mark.parametrize(
    "body", [*NOTHING, b'{"kind": "storage#bucket", "name": "another", "projectNumber": "123456789"}']
)
def test_a_bucket_is_neither_lost_nor_gone_by_an_answer_that_is_none(
    environment: Environment, answering: Answering, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    tenant = environment.tenant(greenfield=True)
    answering("GET", BUCKET, body)
    for verb in (
        lambda: environment.provisioner.provision(builders.again(tenant.request, tenant.answer)),
        lambda: environment.provisioner.delete(tenant.record),
        lambda: environment.provisioner.delete_empty(tenant.record),  # type: ignore[attr-defined]
    ):
        with pytest.raises(RetrySlowly, match="not Google's"):
            verb()
    monkeypatch.undo()

    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)


@pytest.mark.parametrize("kind", ["hmac", "json-key", "workload-identity", "workload-identity-federation"])
@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b'{"items": [null], "keys": [1], "accounts": {}, "metadata": 1}']
)
def test_no_answer_is_an_internal_error(
    environment: Environment, fake: FakeGcs, monkeypatch: pytest.MonkeyPatch, kind: str, body: bytes
) -> None:
    """Each request of each verb, answered so once; then the claim goes on as if nothing had been."""
    real, left = server._answer, [0]

    def instead(store: Store, request: Request) -> Answer:
        if request.path != server.TOKEN_PATH:
            left[0] -= 1
            if not left[0]:
                return Answer(200, body, {"Content-Type": "application/json"})
        return real(store, request)

    monkeypatch.setattr(server, "_answer", instead)

    def each_request(verb: Callable[[], object]) -> None:
        for number in range(1, 40):
            left[0] = number
            with suppress(ProvisionerError):
                verb()
            if left[0] > 0:
                return
        raise AssertionError("a verb of 40 requests")

    request = environment.request(parameters={"credentials": kind, "revocationSeconds": "0"})
    each_request(lambda: environment.provisioner.provision(request))
    left[0] = 0
    answer = environment.patiently(environment.provisioner.provision, request)
    again = builders.again(request, answer)
    each_request(lambda: environment.provisioner.provision(again))
    each_request(lambda: environment.provisioner.is_intact(again))  # type: ignore[attr-defined]
    record = builders.recorded(answer, request)
    each_request(lambda: environment.provisioner.delete(record))
    left[0] = 0
    environment.delete(record)
    assert not environment.administrator.bucket_exists(request.bucket_name)
    assert not environment.administrator.identity_exists(record)
    assert not [
        each for each in fake.store.hmac_keys.values() if each.state == "ACTIVE" and each.email in fake.store.accounts
    ]


_PART = "--b\r\nContent-Type: application/http\r\n\r\n{}\r\n"
_GONE = "HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", "{}"),
        ("text/html", "<html></html>"),
        ("multipart/mixed; boundary=b", _PART.format(_GONE) + "--b--"),
        ("multipart/mixed; boundary=b", _PART.format(_GONE) * 3 + "--b--"),
        ("multipart/mixed; boundary=b", _PART.format("<html></html>") * 2 + "--b--"),
        ("multipart/mixed; boundary=b", _PART.format("HTTP/1.1 no\r\n\r\n") * 2 + "--b--"),
        (
            "multipart/mixed; boundary=b",
            "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n--c--\r\n--b--",
        ),
        ("multipart/mixed; boundary=b", ""),
    ],
    ids=["JSON", "a page", "a part missing", "a part too many", "pages", "no status", "nested", "empty"],
)
def test_a_batch_that_is_not_answered_part_by_part_is_sent_again(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, kind: str, body: str
) -> None:
    tenant = environment.greenfield(environment.request(parameters={"revocationSeconds": "0"}))
    for name in ("one", "two"):
        environment.administrator.application().put(tenant.bucket, name, b"x")
    real = server._answer

    def instead(store: Store, request: Request) -> Answer:
        is_batch = request.path.startswith("/batch/")
        return Answer(200, body.encode(), {"Content-Type": kind}) if is_batch else real(store, request)

    monkeypatch.setattr(server, "_answer", instead)
    with pytest.raises(RetrySlowly, match="not Google's"):
        environment.provisioner.delete(tenant.record)
    monkeypatch.undo()

    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)
