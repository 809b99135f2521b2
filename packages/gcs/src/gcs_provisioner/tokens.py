"""How google-auth gets tokens: within our time limits, without its own retries, and without its background requests.

Used by `connector` for the administrator and by `trials` for a claim's key. Knows no API but token endpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.auth.credentials import Credentials
from google.auth.transport.requests import Request

from gcs_provisioner.errors import check_token_answer
from libbucket import RetrySlowly

if TYPE_CHECKING:
    import requests


class BoundedRequest(Request):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """How google-auth asks for tokens: within our time limits (its own is two minutes), and without its own waiting."""

    def __init__(self, session: requests.Session, timeout: tuple[float, float]) -> None:
        super().__init__(session)
        self._timeout = timeout

    def __call__(  # the signature of google-auth's
        self, url: str, method: str = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **kw: Any
    ) -> Any:
        """Sends a request; google-auth may ask for less time, not for more."""
        limit = timeout if isinstance(timeout, int | float) and timeout < self._timeout[1] else self._timeout
        answer = super().__call__(  # type: ignore[no-untyped-call]
            url, method=method, body=body, headers=headers, timeout=limit, **kw
        )
        if method == "POST":  # the metadata server is asked by GET, and some of its refusals are answers
            check_token_answer(answer.status, answer.headers, url, answer.data)
        return answer


class TokensOnly(Credentials):  # type: ignore[misc,no-untyped-call,unused-ignore]
    """The administrator's credentials, as far as they are asked for tokens.

    google-auth's own classes request something in the background as well (regional access boundaries): with the
    administrator's token, at an address that no parameter of a class can change, in a thread that outlives the verb.
    """

    def __init__(self, source: Credentials) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._source = source

    def refresh(self, request: Request) -> None:
        """Gets a token."""
        refresh(self._source, request)
        self.token, self.expiry = self._source.token, self._source.expiry


def refresh(credentials: Credentials, request: Request) -> None:
    """Gets a token.

    Raises:
        RetrySlowly: what answers issues no tokens: google-auth falls over a web page that is there in its place.
    """
    try:
        credentials.refresh(request)
    except (AttributeError, LookupError, TypeError, RecursionError) as error:
        raise RetrySlowly(
            "what answers in the place of Google's token endpoint is something else: check token_uri in the "
            "administrator's key, and any proxy before the provisioner"
        ) from error
