"""The administrator's key is loaded once, and what is no longer the administrator's is used no more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.api_core import exceptions as api
from google.auth import compute_engine
from google.oauth2 import service_account

from gcs_provisioner.admin_secret import Admin, parse_admin
from gcs_provisioner.client import Patience
from gcs_provisioner.connector import KEYS_KEPT, Connector
from gcs_provisioner.keys import FILE_KEY
from gcs_provisioner.parameters import parse_parameters
from libbucket import SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.oauth2.service_account import Credentials


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


@pytest.fixture
def load(private_key: str) -> Callable[[int], Credentials]:
    """What one connector uses as the credentials of the administrator with this number."""
    connector, parameters = Connector(Patience(), lambda: None), parse_parameters({})

    def load(number: int) -> Credentials:
        with connector.connect(parameters, an_admin(private_key, number)) as clients:
            return clients.session.credentials._source  # type: ignore[no-any-return]

    return load


def an_admin(private_key: str, number: int) -> Admin:
    key = {
        "type": "service_account",
        "project_id": "my-project-123",
        "client_email": f"provisioner-{number}@my-project-123.iam.gserviceaccount.com",
        "private_key": private_key,
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return parse_admin({FILE_KEY: SecretStr(json.dumps(key))}, named="Secret gcs/admin")


def test_the_same_key_is_loaded_once_and_no_token_outlives_its_verb(load: Callable[[int], Credentials]) -> None:
    first, again = load(1), load(1)

    assert first is not again
    assert first.signer is again.signer


def test_a_key_that_took_the_place_of_another_is_the_one_that_is_used(load: Callable[[int], Credentials]) -> None:
    assert [load(number).service_account_email.partition("@")[0] for number in (1, 2)] == [
        "provisioner-1",
        "provisioner-2",
    ]


def test_as_many_keys_are_kept_as_there_may_be_classes_and_no_more(load: Callable[[int], Credentials]) -> None:
    first, second = load(0).signer, load(1).signer
    for number in range(2, KEYS_KEPT + 1):
        load(number)

    assert load(1).signer is second
    assert load(0).signer is not first


def test_the_identity_of_the_pod_is_searched_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search asks the metadata server of GKE for its presence and for the project; a token is got by each verb."""
    searches: list[object] = []

    def search(**_: object) -> tuple[compute_engine.Credentials, str]:
        searches.append(None)
        return compute_engine.Credentials(), "my-project-123"

    monkeypatch.setattr("google.auth.default", search)
    connector, parameters = Connector(Patience(), lambda: None), parse_parameters({})
    used = []
    for _ in range(3):
        with connector.connect(parameters, None) as clients:
            used.append(clients.session.credentials._source)
            assert clients.project == "my-project-123"
    assert len(searches) == 1
    assert len({id(each) for each in used}) == 3, "no token outlives its verb"


def test_a_file_with_the_pods_credentials_is_read_by_each_verb(
    monkeypatch: pytest.MonkeyPatch, private_key: str
) -> None:
    """It can be replaced while the provisioner runs."""
    searches: list[object] = []

    def search(**_: object) -> tuple[Credentials, str]:
        searches.append(None)
        key = {**an_admin(private_key, 1).reveal()}
        return service_account.Credentials.from_service_account_info(key), "my-project-123"

    monkeypatch.setattr("google.auth.default", search)
    connector, parameters = Connector(Patience(), lambda: None), parse_parameters({})
    for _ in range(2):
        with connector.connect(parameters, None):
            pass
    assert len(searches) == 2


@pytest.mark.parametrize(("reason", "told"), [("notFound", "(notFound)"), ("", "(no reason given)")])
def test_a_project_that_does_not_exist_is_told_with_googles_reason(private_key: str, reason: str, told: str) -> None:
    response = requests.Response()
    response.status_code = 404
    response._content = json.dumps({"error": {"code": 404, "errors": [{"reason": reason}]}}).encode()
    refusal = api.NotFound("refused", response=response)

    connector, parameters = Connector(Patience(), lambda: None), parse_parameters({})
    with connector.connect(parameters, an_admin(private_key, 1)) as clients:
        error = clients.no_such_project(refusal)

    assert told in str(error)
    assert "my-project-123" in str(error)
