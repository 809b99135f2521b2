"""`HttpBackend` and `HttpApplication`: each member does what the suite relies on, and the same without it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pytest

from libbucket import (
    AccessDenied,
    AdminSecretMissing,
    Authentication,
    Endpoint,
    HttpApi,
    ProvisionerError,
    SecretStr,
    Services,
    bearer,
)
from libbucket.testing.conformance import (
    REFUSAL_TEXT,
    REQUEST_ID,
    Administrator,
    Application,
    HttpApplication,
    HttpBackend,
    Refused,
)
from libbucket.testing.http_store import HttpStore, http_store
from libbucket.testing.memory import MemoryProvisioner
from libbucket.testing.misbehaving import Answer, scripted_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from urllib3 import BaseHTTPResponse

    from libbucket import HttpClient, Provisioner

API = HttpApi(name="Depot", seconds=20, parameter="adminEndpoint")


class DepotApplication(HttpApplication):
    def request_object(self, method: str, bucket: str, key: str, body: bytes) -> BaseHTTPResponse:
        return self.request(method, "buckets", bucket, "objects", key, body=body)

    def list_keys(self, bucket: str) -> list[str]:
        keys: list[str] = self.find("buckets", bucket, "objects")["keys"]
        return keys

    def remove_bucket(self, bucket: str) -> None:
        self.request("DELETE", "buckets", bucket)


@dataclass
class Built(MemoryProvisioner):
    """A provisioner of which a test sees what it was built with."""

    services: Services
    api: HttpApi
    purge_seconds: float

    def open(self, parameters: Mapping[str, str]) -> HttpClient:
        token = self.services.read_value(parameters["secretNamespace"], parameters["secretName"], "TOKEN")
        return self.api.connect(parameters["adminEndpoint"], self.services.before_request, headers=bearer(token))


class DepotBackend(HttpBackend):
    api: ClassVar[HttpApi] = API
    request_id_header: ClassVar[str] = "X-Depot-Id"

    def __init__(self, server: HttpStore) -> None:
        self._server = server

    def build(self, services: Services, api: HttpApi, purge_seconds: float) -> Built:
        return Built(services, api, purge_seconds)

    @property
    def parameters(self) -> Mapping[str, str]:
        return {"adminEndpoint": self._server.url, "secretName": "admin", "secretNamespace": "storage"}

    @property
    def admin_secret(self) -> Mapping[str, str]:
        return {"TOKEN": self._server.token}

    @property
    def administrator(self) -> Administrator:
        raise NotImplementedError

    def application(self, endpoint: Endpoint, credentials: Authentication) -> Application:
        raise NotImplementedError

    def refusal_body(self, code: str, text: str) -> object:
        return {"error": code, "text": text}


@pytest.fixture
def store() -> Iterator[HttpStore]:
    with http_store() as running:
        yield running


@pytest.fixture
def backend(store: HttpStore) -> DepotBackend:
    return DepotBackend(store)


@pytest.fixture
def administrator(store: HttpStore) -> DepotApplication:
    return DepotApplication(store.url, bearer(SecretStr(store.token)))


def built(provisioner: Provisioner | None) -> Built:
    assert isinstance(provisioner, Built)
    return provisioner


def asked(provisioner: Provisioner | None, parameters: Mapping[str, str]) -> object:
    """What a request of a provisioner finds: the names of buckets."""
    with built(provisioner).open(parameters) as client:
        return client.request("GET", "buckets").json()["names"]


def test_the_provisioner_has_the_administrators_secret_under_its_own_name_only(backend: DepotBackend) -> None:
    made = built(backend.provisioner())

    assert asked(made, backend.parameters) == []
    assert (made.api, made.purge_seconds) == (API, 20)
    with pytest.raises(AdminSecretMissing, match="storage/other"):
        asked(made, {**backend.parameters, "secretName": "other"})


def test_a_spoilt_secret_is_refused_and_the_right_one_is_read_again(backend: DepotBackend) -> None:
    spoilt = [False]
    rotating = backend.rotating(lambda: spoilt[0])

    assert asked(rotating, backend.parameters) == []
    spoilt[0] = True
    with pytest.raises(AccessDenied):
        asked(rotating, backend.parameters)
    spoilt[0] = False
    assert asked(rotating, backend.parameters) == []


def test_every_broken_provisioner_fails(backend: DepotBackend) -> None:
    broken = backend.broken_provisioners()

    assert len(broken) == 2
    for each in broken.values():
        with pytest.raises(ProvisionerError):
            asked(each, backend.parameters)
    assert backend.secrets == [backend.admin_secret["TOKEN"]]


def test_a_fenced_provisioner_calls_the_hook(backend: DepotBackend) -> None:
    calls: list[int] = []
    fenced = backend.fenced(lambda: calls.append(1))

    asked(backend.provisioner(), backend.parameters)
    assert calls == []
    asked(fenced, backend.parameters)
    assert calls == [1]


def test_a_stepwise_provisioner_has_no_time(backend: DepotBackend) -> None:
    assert built(backend.stepwise_provisioner()).purge_seconds == 0


def test_a_misled_provisioner_asks_elsewhere_within_its_time_limit(backend: DepotBackend) -> None:
    with scripted_server(
        Answer(headers={"Content-Type": "application/json"}, body=b'{"names": ["elsewhere"]}')
    ) as other:
        misled = backend.misled(other.url, 7)
        assert misled is not None
        provisioner, parameters = misled
        assert asked(provisioner, parameters) == ["elsewhere"]

    assert built(provisioner).api.seconds == 7
    assert {**parameters, "adminEndpoint": ""} == {**backend.parameters, "adminEndpoint": ""}


def test_a_refusal_has_the_stores_own_form(backend: DepotBackend) -> None:
    refusal = backend.refusal(418, "Teapot")

    assert refusal is not None
    assert (refusal.status, refusal.headers["X-Depot-Id"]) == (418, REQUEST_ID)
    assert refusal.body.decode() == f'{{"error": "Teapot", "text": "{REFUSAL_TEXT}"}}'


def test_a_distrusting_store_refuses_what_has_headers_of_its_own_and_nothing_else(backend: DepotBackend) -> None:
    own = bearer(SecretStr(backend.admin_secret["TOKEN"]))
    with built(backend.provisioner()).open(backend.parameters) as client:
        assert client.request("GET", "buckets", headers=own, accept={401}).status == 200
    with backend.distrusting() as provisioner, built(provisioner).open(backend.parameters) as client:
        assert client.request("GET", "buckets").status == 200
        assert client.request("GET", "buckets", headers=own, accept={401}).status == 401
        with pytest.raises(AccessDenied):
            client.find("buckets", "photos", headers=own)


def test_an_application_writes_reads_lists_and_deletes(administrator: DepotApplication) -> None:
    administrator.request("PUT", "buckets", "photos", json={"max_objects": 9})
    administrator.put("photos", "a/b ?", b"data")

    assert administrator.list_keys("photos") == ["a/b ?"]
    assert administrator.get("photos", "a/b ?") == b"data"
    administrator.delete("photos", "a/b ?")
    assert administrator.list_keys("photos") == []
    assert administrator.find("buckets", "photos")["max_objects"] == 9
    administrator.remove_bucket("photos")
    assert administrator.find("buckets", "photos") is None


def test_a_refusal_is_refused_and_every_other_failure_is_not(store: HttpStore, administrator: DepotApplication) -> None:
    stranger = DepotApplication(store.url, bearer(SecretStr("wrong")))

    with pytest.raises(Refused):
        stranger.list_keys("photos")
    with pytest.raises(AssertionError, match=r"GET .*/buckets/photos/objects/a was answered with HTTP 404: .*NoSuch"):
        administrator.get("photos", "a")
    assert administrator.request("DELETE", "buckets", "photos", accept={404}).status == 404
