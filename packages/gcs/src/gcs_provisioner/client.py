"""What one verb asks Google with: Cloud Storage and IAM, as the administrator, and one request to either.

Opened by `connector`. Every request has a time limit, and nothing is retried here: the core does that. Knows nothing of
buckets' settings, identities and keys, and not who the administrator is.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from google.api_core import exceptions as api

from gcs_provisioner.errors import Call, translated
from gcs_provisioner.refusals import id_of, reason_of, request_id_of
from libbucket import NotReady, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests
    from google.auth.transport.requests import AuthorizedSession
    from google.cloud import storage

    from gcs_provisioner.pace import Pace
    from gcs_provisioner.parameters import Parameters


MOST_PAGES: Final = 100
"""Of one list, in one call: of a thousand entries each, where Google fills them."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Time limits, in seconds. No verb waits for Google to propagate anything: it raises `NotReady` with a delay.

    Attributes:
        connect: for a connection.
        read: for the next bytes of an answer.
        purge: for removing objects, before the core calls again.
        sleep: waits for a turn that is near; see `pace`.
    """

    connect: float = 5.0
    read: float = 30.0
    purge: float = 20.0
    sleep: Callable[[float], None] = time.sleep


class LastId(threading.local):
    """The id of the last answer that a thread got: the answers that a batch is made of have none of their own."""

    value = ""

    def note(self, response: requests.Response, **_: object) -> None:
        """A hook of a session."""
        self.value = request_id_of(response.headers)


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What one verb works with.

    Attributes:
        storage: Cloud Storage, as the administrator.
        session: any API of Google's, as the administrator.
        plain: requests without the administrator's token.
        parameters: of the class.
        project: where buckets and accounts are made.
        token_uri: where tokens are asked for.
        patience: time limits.
        pace: turns of requests that make or delete a bucket.
        last_id: of the last answer to this thread.
    """

    storage: storage.Client
    session: AuthorizedSession
    plain: requests.Session
    parameters: Parameters
    project: str
    token_uri: str
    patience: Patience
    pace: Pace
    last_id: LastId

    @property
    def timeout(self) -> tuple[float, float]:
        """Of each request: to connect, to read."""
        return self.patience.connect, self.patience.read

    @property
    def bounds(self) -> dict[str, Any]:
        """What every call of the storage client is given."""
        return {"timeout": self.timeout, "retry": None}

    def no_such_project(self, refusal: Exception) -> StoreRefused:
        """The error for what is to be made in a project that does not exist."""
        reason = reason_of(getattr(refusal, "response", None)) or "no reason given"
        return StoreRefused(
            f"Google Cloud project {self.project} does not exist ({reason}): check parameter project, and project_id "
            "in the administrator's key",
            request_id=id_of(refusal),
        )


def ask_iam(clients: Clients, method: str, path: str, *, permission: str, body: object = None) -> dict[str, Any]:
    """One request to IAM; its answer.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: IAM refuses; inside `translated` of the caller, who may know
            what a refusal means.
    """
    call = Call(url=clients.parameters.iam_endpoint, permission=permission)
    return _ask(clients, method, f"{call.url}/v1/{path}", call, body)


def ask_storage(clients: Clients, method: str, path: str, *, permission: str, body: object = None) -> dict[str, Any]:
    """One request to the JSON API of Cloud Storage, for what its client does not send as it should; as `ask_iam`."""
    call = Call(url=clients.parameters.endpoint, permission=permission)
    return _ask(clients, method, f"{call.url}/storage/v1/{path}", call, body)


def _ask(clients: Clients, method: str, url: str, call: Call, body: object) -> dict[str, Any]:
    with translated_but_refusals(call):
        response = clients.session.request(method, url, json=body, timeout=clients.timeout)
        if not response.ok:
            raise api.from_http_response(response)
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer


def items_of(found: Any, what: str) -> Iterator[Any]:
    """The items of a list of Google's client, which follows its pages to their end, also where they have none.

    Pages without any item are usual where much was deleted, or where one account's entries are searched among many.

    Args:
        found: what the client gives, with `max_results` for where to end.
        what: is listed, for the message.

    Raises:
        NotReady: there are more pages than one call may read.
    """
    for number, page in enumerate(found.pages):
        if number == MOST_PAGES:
            raise NotReady(f"Google's list of {what} does not end: {MOST_PAGES} pages were read")
        yield from page


@contextmanager
def translated_but_refusals(call: Call) -> Iterator[None]:
    """As `translated`, but lets through what an API answered."""
    try:
        with translated(call):
            try:
                yield
            except api.GoogleAPICallError as refusal:
                raise _Through(refusal) from refusal
    except _Through as through:
        raise through.refusal from None


class _Through(BaseException):
    """Carries a refusal past `translated`."""

    def __init__(self, refusal: api.GoogleAPICallError) -> None:
        super().__init__()
        self.refusal = refusal
