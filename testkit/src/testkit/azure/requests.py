"""Watches the requests that Azure's clients send, and cuts the provisioner off at one of them.

Used by this package's tests: to count, to die between any two requests, and to let another client act in between.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import RequestsTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def recorded_requests() -> Iterator[list[str]]:
    """Every request of the block, as "PUT acl", "GET list", "DELETE container"."""
    made: list[str] = []

    def pass_on(name: str, send: Callable[[], Any]) -> Any:
        made.append(name)
        return send()

    with _watched(pass_on):
        yield made


@contextmanager
def cut_off_at(number: int, *, done: bool) -> Iterator[None]:
    """Dies at request `number`, counted from 0, before or after it is done; nothing is sent from then on."""
    counter = iter(range(1000))

    def pass_on(_name: str, send: Callable[[], Any]) -> Any:
        now = next(counter)
        if now < number:
            return send()
        if now == number and done:
            send()
        raise ServiceRequestError("the process died here")

    with _watched(pass_on):
        yield


@contextmanager
def before_request(name: str, act: Callable[[], object]) -> Iterator[None]:
    """Calls `act` once, right before the first request of that name is sent."""
    waiting = [act]

    def pass_on(found: str, send: Callable[[], Any]) -> Any:
        if found == name and waiting:
            waiting.pop()()
        return send()

    with _watched(pass_on):
        yield


@contextmanager
def _watched(pass_on: Callable[[str, Callable[[], Any]], Any]) -> Iterator[None]:
    real = RequestsTransport.send

    def send(self: RequestsTransport, request: Any, **kw: Any) -> Any:
        return pass_on(_name(request), lambda: real(self, request, **kw))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RequestsTransport, "send", send)
        yield


def _name(request: Any) -> str:
    asked = parse_qs(urlsplit(request.url).query)
    return f"{request.method} {(asked.get('comp') or asked.get('restype') or ['blob'])[0]}"
