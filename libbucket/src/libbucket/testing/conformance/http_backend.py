"""A `Backend` of a store with an HTTP API: what follows from a provisioner that is built on `HttpApi`.

Between `Backend` and the tests of such a provisioner, which add what is the store's own. Knows no store and no pytest.
"""

from __future__ import annotations

import json as json_text
from abc import abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from libbucket.errors import AdminSecretMissing
from libbucket.http_client import HttpAnswer, HttpApi, HttpClient
from libbucket.provisioner import Services
from libbucket.testing.conformance.backend import REFUSAL_TEXT, REQUEST_ID, Backend
from libbucket.testing.misbehaving import Answer, scripted_server
from libbucket.types import SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from libbucket.provisioner import Provisioner


class HttpBackend(Backend):
    """A store with an HTTP API, ready for the suite.

    Implement `build`, `parameters`, `admin_secret`, `administrator`, `application` and `refusal_body`. Override what is
    otherwise at your store: `secrets` where the administrator's Secret holds the name of a user, which messages may
    repeat, and `stepwise_provisioner`, to return None, where `delete` is one request.

    Attributes:
        api: the one that the provisioner uses.
        request_id_header: the header in which the store sends the id of an answer.
    """

    api: ClassVar[HttpApi]
    request_id_header: ClassVar[str] = "X-Request-Id"

    @abstractmethod
    def build(self, services: Services, api: HttpApi, purge_seconds: float) -> Provisioner:
        """A new provisioner.

        Args:
            services: what the core gives it.
            api: in place of its own: with another time limit, for example.
            purge_seconds: how long a call of `delete` removes objects; with 0, it ends after one batch.
        """

    @property
    @abstractmethod
    def admin_secret(self) -> Mapping[str, str]:
        """What the Secret holds that `parameters` name: `secretName` and `secretNamespace`."""

    @property
    def wrong_admin_secret(self) -> Mapping[str, str]:
        """The same with credentials that are well-formed, and that the store refuses: each value backwards."""
        return {key: value[::-1] for key, value in self.admin_secret.items()}

    @abstractmethod
    def refusal_body(self, code: str, text: str) -> object:
        """The JSON of an error answer of this store, as its documentation has it.

        Args:
            code: for programs.
            text: for humans; leave it out if the store's form has none.
        """

    @property
    def secrets(self) -> Sequence[str]:
        """Every value of the administrator's Secret."""
        return [*self.admin_secret.values()]

    def provisioner(self) -> Provisioner:
        """With the right credentials, and the time limits that it has in a cluster."""
        return self._build()

    def fenced(self, before_request: Callable[[], None]) -> Provisioner:
        """With this request hook."""
        return self._build(before_request=before_request)

    def rotating(self, is_spoilt: Callable[[], bool]) -> Provisioner | None:
        """Reads `wrong_admin_secret` where `is_spoilt()`."""
        return self._build(is_spoilt=is_spoilt)

    def broken_provisioners(self) -> Mapping[str, Provisioner]:
        """One with wrong credentials, and one whose Secret is empty of them."""
        return {
            "wrong credentials": self._build(is_spoilt=lambda: True),
            "no credentials": self.build(Services(read_secret=lambda *_: {}), self.api, 0),
        }

    def stepwise_provisioner(self) -> Provisioner | None:
        """One whose call of `delete` ends after one batch."""
        return self._build(purge_seconds=0)

    def misled(self, url: str, seconds: float) -> tuple[Provisioner, Mapping[str, str]] | None:
        """The class parameter that `HttpApi.parameter` names is `url`, and an answer takes at most `seconds`."""
        api = replace(self.api, seconds=seconds)
        return self._build(api=api), {**self.parameters, api.parameter: url}

    def refusal(self, status: int, code: str) -> Answer | None:
        """An answer with `refusal_body`, and its id in `request_id_header`."""
        kind = self.api.error_media_type or self.api.media_type
        headers = {"Content-Type": kind, self.request_id_header: REQUEST_ID}
        body = json_text.dumps(self.refusal_body(code, REFUSAL_TEXT)).encode()
        return Answer(status=status, headers=headers, body=body)

    @contextmanager
    def distrusting(self) -> Generator[Provisioner]:
        """A node refuses, with 401, each request that has headers of its own: the claim's credentials.

        The headers that are given to `HttpApi.connect` are the administrator's.
        """
        refusal = self.refusal(401, "UnknownCredentials")
        with scripted_server(refusal or Answer(status=401)) as node:
            given = {each.name: getattr(self.api, each.name) for each in fields(HttpApi)}
            yield self._build(api=_DistrustingApi(**given, node=node.url))

    def _build(
        self,
        *,
        api: HttpApi | None = None,
        purge_seconds: float = 20,
        is_spoilt: Callable[[], bool] = lambda: False,
        **services: Any,
    ) -> Provisioner:
        asked_for = (self.parameters["secretNamespace"], self.parameters["secretName"])

        def read_secret(namespace: str, name: str) -> Mapping[str, SecretStr]:
            if (namespace, name) != asked_for:
                raise AdminSecretMissing(f"Secret {namespace}/{name} does not exist")
            held = self.wrong_admin_secret if is_spoilt() else self.admin_secret
            return {key: SecretStr(value) for key, value in held.items()}

        return self.build(Services(read_secret=read_secret, **services), api or self.api, purge_seconds)


@dataclass(frozen=True, kw_only=True)
class _DistrustingApi(HttpApi):
    """Its clients send requests with headers of their own to `node`."""

    node: str

    def connect(self, url: str, before_request: Callable[[], None], **options: Any) -> HttpClient:
        given = {"headers": {}, "ca_bundle": "", **options}
        return _DistrustingClient(self, url, before_request, **given)


class _DistrustingClient(HttpClient):
    def __init__(self, api: _DistrustingApi, url: str, before_request: Callable[[], None], **options: Any) -> None:
        super().__init__(api, url, before_request, **options)
        self._node = HttpClient(api, api.node, before_request, **{**options, "ca_bundle": ""})

    def close(self) -> None:
        self._node.close()
        super().close()

    def request(self, method: str, *path: str, **options: Any) -> HttpAnswer:
        ask = self._node.request if options.get("headers") else super().request
        return ask(method, *path, **options)
