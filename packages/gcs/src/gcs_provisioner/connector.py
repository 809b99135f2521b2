"""The clients of a verb: opened as the administrator and closed after it, so that no state of a request outlives it.

Used by `provisioner`, one per process: keeps loaded keys and the pace of a project. Knows who asks, and not what for.
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import google.auth
import requests
from google.auth import compute_engine, identity_pool, impersonated_credentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.oauth2 import service_account

from gcs_provisioner.admin_secret import DEFAULT_TOKEN_URI, IMPERSONATION_ADDRESSES
from gcs_provisioner.client import Clients, LastId, Patience
from gcs_provisioner.errors import Call, check_answer, translated
from gcs_provisioner.pace import Pace
from gcs_provisioner.tokens import BoundedRequest, TokensOnly
from gcs_provisioner.transport import prepare
from libbucket import InvalidParameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.auth.credentials import Credentials
    from google.auth.transport.requests import Request

    from gcs_provisioner.admin_secret import Admin
    from gcs_provisioner.parameters import Parameters


SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


KEYS_KEPT: Final = 16


class _QuietClient(storage.Client):  # type: ignore[misc,unused-ignore]
    """A client that sends what it is told to, and nothing else.

    Google's own client reads every bucket that it meets once more, for labels of traces, whether there are any or not:
    in threads that outlive the verb, with time limits and retries of their own.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._bucket_metadata_cache = None


class Connector:
    """Makes the clients of a verb. One per process; its methods may be called from several threads.

    Args:
        patience: time limits.
        fence: asked before each request; see `Services.before_request`.
        now: the core's clock.
    """

    def __init__(
        self, patience: Patience, fence: Callable[[], None], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._patience = patience
        self._fence = fence
        self._pace = Pace(now)
        # To load a private key is to prove it, which takes 55 ms of a processor: as long as several requests.
        self._loaded: dict[bytes, service_account.Credentials] = {}
        self._own: tuple[Credentials, str | None] | None = None
        self._lock = threading.Lock()

    @contextmanager
    def connect(self, parameters: Parameters, admin: Admin | None) -> Iterator[Clients]:
        """Clients for one verb; their connections are closed at the end, whatever happens.

        Args:
            parameters: of the class.
            admin: who connects; None for the pod's own identity.

        Raises:
            InvalidParameters: no project is named.
            RetrySlowly: there are no credentials.
            StoreUnavailable: Google can't be asked now.
        """
        with requests.Session() as plain:
            prepare(plain, self._fence)
            request = BoundedRequest(plain, (self._patience.connect, self._patience.read))
            with translated(Call(url=DEFAULT_TOKEN_URI, permission="a token")):
                credentials, project = self._administrator(parameters, admin, request)
            with AuthorizedSession(credentials, auth_request=request) as session:
                prepare(session, self._fence)
                last_id = LastId()
                session.hooks["response"] = [last_id.note, lambda response, **_: check_answer(response)]
                yield Clients(
                    # The endpoint is always named: STORAGE_EMULATOR_HOST then neither moves a request nor drops its
                    # token.
                    storage=_QuietClient(
                        project=project,
                        credentials=credentials,
                        _http=session,
                        client_options={"api_endpoint": parameters.endpoint},
                    ),
                    session=session,
                    plain=plain,
                    parameters=parameters,
                    project=project,
                    token_uri=admin.token_uri if admin else DEFAULT_TOKEN_URI,
                    patience=self._patience,
                    pace=self._pace,
                    last_id=last_id,
                )

    def _administrator(self, parameters: Parameters, admin: Admin | None, request: Request) -> tuple[Credentials, str]:
        if admin is None:
            credentials, project = self._find_own(request)
        elif admin.subject_file:
            source = {"file": admin.subject_file}
            external = {**admin.reveal(), "type": "external_account", "credential_source": source}
            credentials, project = identity_pool.Credentials.from_info(external, scopes=SCOPES), admin.project
        else:
            credentials, project = self._load(admin).with_scopes(SCOPES), admin.project
        if parameters.impersonated:
            credentials = impersonated_credentials.Credentials(
                source_credentials=TokensOnly(credentials),
                target_principal=parameters.impersonated,
                target_scopes=SCOPES,
                iam_endpoint_override=IMPERSONATION_ADDRESSES[-1] + f"{parameters.impersonated}:generateAccessToken",
            )
        found = parameters.project or project
        if not found:
            raise InvalidParameters(["project is required: the administrator's credentials name none"])
        return TokensOnly(credentials), found

    def _find_own(self, request: Request) -> tuple[Credentials, str]:
        """The pod's own identity, and its project; one that the metadata server gives is searched for once."""
        with self._lock:
            found = self._own
        if found is None:
            found = google.auth.default(scopes=SCOPES, request=request)
            if isinstance(found[0], compute_engine.Credentials):
                with self._lock:
                    self._own = found
        return copy.copy(found[0]), found[1] or ""

    def _load(self, admin: Admin) -> service_account.Credentials:
        revealed = admin.reveal()
        name = hashlib.sha256(json.dumps(revealed, sort_keys=True).encode()).digest()
        with self._lock:
            if name not in self._loaded:
                loaded = service_account.Credentials.from_service_account_info(revealed)
                if len(self._loaded) == KEYS_KEPT:
                    del self._loaded[next(iter(self._loaded))]
                self._loaded[name] = loaded
            return self._loaded[name]
