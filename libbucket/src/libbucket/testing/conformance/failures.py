# ruff: noqa: D102 - the name of a guarantee is its sentence, and pytest passes by name

"""Guarantees about a store that hangs, is busy, fails, or is no store at all: verbs end soon, with the right error."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from libbucket._outcomes import OUTAGES, store_signal
from libbucket.errors import ProvisionerError, Reason, RetrySlowly, StoreUnavailable, Throttled
from libbucket.testing import builders
from libbucket.testing.conformance.backend import REFUSAL_TEXT, REQUEST_ID, Ability
from libbucket.testing.conformance.environment import Environment, Guarantees, assert_works, own_log, raises
from libbucket.testing.misbehaving import Answer, closed_port_url, scripted_server, silent_server

if TYPE_CHECKING:
    from collections.abc import Callable

each_verb = pytest.mark.parametrize("verb", ["provision", "grant", "delete", "revoke"])

_TIME_LIMIT: Final = 0.3
_PATIENCE: Final = 30.0
"""Seconds for a server that does answer: on a busy machine that takes longer than the limit for one that does not."""

_SOON: Final = 10.0
"""Far more than one request may take, and far less than a few of them with a client's own limits and retries."""

_MISLED: Final = (
    "Backend.misled is missing, so nothing about a store that hangs, is busy, fails or is no store at all is tested: "
    "write it, or declare Ability.NETWORK as missing, with the reason"
)
_ONCE: Final = "the store was asked more than once: the core retries, and the client does not"
_MARK: Final = "body-of-an-answer-91be"

_PAGE: Final = Answer(headers={"Content-Type": "text/html"}, body=b"<!DOCTYPE html><html>Welcome</html>")


class Failures(Guarantees):
    """The class of the error decides how soon the claim is retried."""

    @each_verb
    def test_a_store_that_never_answers_is_given_up_within_the_time_limit(
        self, environment: Environment, verb: str
    ) -> None:
        with silent_server() as server:
            call = _sent_to(server.url, environment, verb, limit=_TIME_LIMIT)
            began = time.monotonic()
            with raises(StoreUnavailable, "a store that does not answer must be an outage"):
                call()
            assert time.monotonic() - began < _SOON, "the call took far longer than the time limit"
            assert server.connections == 1, "the core tries again, and the client does not"

    @each_verb
    def test_a_store_where_no_server_listens_is_retried_soon(self, environment: Environment, verb: str) -> None:
        call = _sent_to(closed_port_url(), environment, verb)
        with raises(StoreUnavailable, "a store that does not answer must be an outage"):
            call()

    @each_verb
    @pytest.mark.parametrize("status", [429, 503])
    def test_a_busy_store_is_asked_once_and_its_delay_is_handed_on(
        self, environment: Environment, verb: str, status: int
    ) -> None:
        with scripted_server(Answer(status=status, headers={"Retry-After": "7"})) as server:
            call = _sent_to(server.url, environment, verb)
            with raises(Throttled, "a store that asks for fewer requests must be obeyed") as refused:
                call()
            assert refused.value.delay == 7, "the delay that the store asked for is not passed on"
            assert len(server.requests) == 1, _ONCE

    @each_verb
    def test_a_store_that_fails_is_asked_once_and_retried_soon(self, environment: Environment, verb: str) -> None:
        with scripted_server(Answer(status=500)) as server:
            call = _sent_to(server.url, environment, verb)
            with raises(StoreUnavailable, "a store that fails must be an outage"):
                call()
            assert len(server.requests) == 1, _ONCE

    @each_verb
    def test_what_is_no_store_is_a_mistake_in_the_configuration(self, environment: Environment, verb: str) -> None:
        with scripted_server(_PAGE) as server:
            call = _sent_to(server.url, environment, verb)
            with raises(RetrySlowly, "something that is no store must be a configuration error"):
                call()

    @each_verb
    @pytest.mark.parametrize("status", [400, 403, 404, 409, 412, 418, 422])
    def test_an_answer_that_is_unknown_does_not_stop_other_claims(
        self, environment: Environment, verb: str, status: int
    ) -> None:
        answer = environment.backend.refusal(status, "NobodyKnowsThisCode")
        if answer is None:
            pytest.skip("this store has no error answers")
        with scripted_server(answer) as server:
            call = _sent_to(server.url, environment, verb)
            error = _error_of(call)
        if error is None:
            assert verb in {"delete", "revoke"}, f"{verb} succeeded although every request was refused"
            assert status == 404, "what is not there any more is removed; any other refusal is none of that"
            return
        assert store_signal(error) not in OUTAGES, f"a refusal with {status} is taken for an outage"
        lost = error.reason in {Reason.BUCKET_LOST, Reason.BUCKET_NOT_FOUND}
        assert status == 404 or not lost, f"a refusal with {status} is taken for a bucket that is gone"
        assert error.request_id == REQUEST_ID, "the id of the answer, REQUEST_ID in Backend.refusal, is not passed on"

    @each_verb
    def test_no_error_and_no_log_line_repeats_the_body_of_an_answer(
        self,
        environment: Environment,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
        verb: str,
    ) -> None:
        pages = [Answer(status=status, headers=_PAGE.headers, body=_MARK.encode()) for status in (200, 403, 500)]
        refusals = [environment.backend.refusal(status, "SomeCode") for status in (400, 403, 500)]
        for answer in filter(None, (*pages, *refusals)):
            caplog.clear()
            with caplog.at_level("DEBUG"), scripted_server(answer) as server:
                call = _sent_to(server.url, environment, verb)
                error = _error_of(call)
            written = capsys.readouterr()
            told = f"{error} {error!r} {own_log(environment, caplog)} {written.out} {written.err}"
            text = answer.body.decode(errors="replace")
            assert not [each for each in (_MARK, REFUSAL_TEXT) if each in text and each in told], (
                f"an error, a log line or the output repeats what the store answered with HTTP {answer.status}"
            )


def _error_of(call: Callable[[], object]) -> ProvisionerError | None:
    try:
        call()
    except ProvisionerError as error:
        return error
    return None


def _sent_to(url: str, environment: Environment, verb: str, *, limit: float = _PATIENCE) -> Callable[[], object]:
    """A verb for a claim that is bound, and works, but whose class now says that the store is at `url`."""
    misled = environment.backend.misled(url, limit)
    if misled is None:
        environment.needs(Ability.NETWORK)
        pytest.fail(_MISLED)
    provisioner, parameters = misled
    tenant = environment.tenant(greenfield=verb in {"provision", "delete"})
    assert_works(tenant)
    if verb in {"provision", "grant"}:
        request = builders.again(tenant.request, tenant.answer)
        return lambda: getattr(provisioner, verb)(replace(request, parameters=parameters))
    return lambda: getattr(provisioner, verb)(replace(tenant.record, parameters=parameters))
