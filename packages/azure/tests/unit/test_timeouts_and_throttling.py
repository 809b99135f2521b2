"""Servers that hang, are busy or are no blob service at all: every verb ends in time, and says what to do."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from azure_provisioner.client import Network
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import (
    Authentication,
    ProvisionerError,
    RetrySlowly,
    SecretStr,
    Services,
    StoreUnavailable,
    Throttled,
)
from libbucket.testing import builders
from libbucket.testing.misbehaving import Answer, Misbehaving, dripping_server, scripted_server, silent_server

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = SecretStr("a2V5")
VERBS = ["provision", "grant", "revoke", "delete", "is_intact"]
each_verb = pytest.mark.parametrize("verb", VERBS)
AZURE = {"x-ms-request-id": "1"}


def attempt(verb: str, url: str) -> ProvisionerError:
    """Calls a verb that can't succeed, with short time limits."""
    limits = Network(connect_seconds=0.3, read_seconds=0.3)
    provisioner = AzureProvisioner(Services(read_secret=lambda *_: {"AZURE_STORAGE_KEY": KEY}), limits)
    parameters = {"storageAccount": "account", "endpoint": url, "secretName": "a", "secretNamespace": "b"}
    request = builders.options(parameters=parameters)
    sas = "sv=1&si=obc-policy&sr=c&sig=x"
    held = {
        "AZURE_STORAGE_ACCOUNT": "account",
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_STORAGE_SAS_TOKEN": sas,
        "AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint={url}/account/;SharedAccessSignature={sas}",
        "AZURE_STORAGE_CONTAINER_URL": f"{url}/account/{request.bucket_name}?{sas}",
    }
    credentials = Authentication(additional_secret_data={name: SecretStr(value) for name, value in held.items()})
    request = replace(request, credentials=credentials, additional_state={"AccessPolicy": "obc-policy"})
    calls: dict[str, Callable[[], object]] = {
        "provision": lambda: provisioner.provision(request),
        "grant": lambda: provisioner.grant(request),
        "revoke": lambda: provisioner.revoke(builders.intent(request)),
        "delete": lambda: provisioner.delete(builders.intent(request)),
        "is_intact": lambda: provisioner.is_intact(request),
    }
    with pytest.raises(ProvisionerError) as refused:
        calls[verb]()
    return refused.value


@each_verb
def test_a_server_that_never_answers_is_given_up_within_the_limit_and_asked_once(verb: str) -> None:
    with silent_server() as server:
        began = time.monotonic()
        error = attempt(verb, server.url)
        assert time.monotonic() - began < 5
        assert server.connections == 1
    assert isinstance(error, StoreUnavailable)
    assert "within the time limit" in error.message


@each_verb
def test_an_answer_that_drips_is_given_up_within_the_limit(verb: str) -> None:
    start = b"HTTP/1.1 200 OK\r\nx-ms-request-id: 1\r\nX-Slow: "
    with dripping_server(start) as server:
        began = time.monotonic()
        error = attempt(verb, server.url)
        assert time.monotonic() - began < 5  # each byte comes in time, and they do not end
        assert server.connections == 1
    assert isinstance(error, StoreUnavailable)


@each_verb
@pytest.mark.parametrize(
    ("status", "headers", "delay"),
    [
        (503, {"x-ms-error-code": "ServerBusy", "Retry-After": "7"}, 7.0),
        (429, {"x-ms-error-code": "ServerBusy", "Retry-After": "7"}, 7.0),
        (503, {"x-ms-error-code": "ServerBusy", "x-ms-retry-after-ms": "1500"}, 1.5),
        (503, {"x-ms-error-code": "ServerBusy"}, None),
        (503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        (429, {"Retry-After": "soon"}, None),
    ],
)
def test_a_busy_server_is_asked_once_and_its_delay_handed_on(
    verb: str, status: int, headers: dict[str, str], delay: float | None
) -> None:
    with scripted_server(Answer(status=status, headers={**AZURE, **headers})) as server:
        error = attempt(verb, server.url)
        assert len(server.requests) == 1
    assert isinstance(error, Throttled)
    assert error.delay == delay


@each_verb
@pytest.mark.parametrize("code", ["InternalError", "OperationTimedOut", ""])
def test_a_server_that_fails_is_asked_once(verb: str, code: str) -> None:
    with scripted_server(Answer(status=500, headers={**AZURE, "x-ms-error-code": code})) as server:
        assert type(attempt(verb, server.url)) is StoreUnavailable
        assert len(server.requests) == 1


@each_verb
@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"<html>Welcome</html>", headers={"Content-Type": "text/html"}),
        Answer(body=b"<ListBucketResult />", headers={"Content-Type": "application/xml"}),
        Answer(status=404, body=b"<html>No such page</html>", headers={"Content-Type": "text/html"}),
        Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        Answer(body=b"not XML at all", headers={**AZURE, "Content-Type": "application/xml"}),
    ],
    ids=["page", "another store", "no page", "elsewhere", "rubbish"],
)
def test_what_is_no_blob_service_is_told_by_the_parameter_to_fix(verb: str, answer: Answer) -> None:
    if verb == "is_intact" and answer.body.startswith(b"not XML"):
        pytest.skip("it asks with HEAD, and an answer to that has no body")
    with scripted_server(answer) as server:
        error = _of_something_else(verb, server)
    assert type(error) is RetrySlowly
    assert "parameter endpoint" in error.message


def _of_something_else(verb: str, server: Misbehaving) -> ProvisionerError:
    return attempt(verb, server.url)
