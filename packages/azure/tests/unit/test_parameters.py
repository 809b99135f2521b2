"""StorageClass parameters and the administrator's Secret, as they are written and mistyped."""

from __future__ import annotations

from datetime import timedelta

import pytest

from azure_provisioner.admin_secret import parse_admin
from azure_provisioner.parameters import parse_parameters
from libbucket import InvalidAdminSecret, InvalidParameters, SecretStr

LEAST = {"storageAccount": "account", "secretName": "admin", "secretNamespace": "azure"}
DELEGATED = {"storageAccount": "account", "credentials": "user-delegation-sas"}
CLIENT = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s3cr3t"}


def _secret(data: dict[str, str]) -> dict[str, SecretStr]:
    return {key: SecretStr(value) for key, value in data.items()}


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "https://account.blob.core.windows.net"),
        ({"endpoint": "https://account.blob.core.chinacloudapi.cn"}, "https://account.blob.core.chinacloudapi.cn"),
        ({"endpoint": "https://blobs.example.com/"}, "https://blobs.example.com"),
        ({"endpoint": "http://127.0.0.1:10000"}, "http://127.0.0.1:10000/account"),
        ({"endpoint": "http://[::1]:10000"}, "http://[::1]:10000/account"),
        ({"endpoint": "http://localhost:10000"}, "http://localhost:10000/account"),
        ({"endpoint": "http://azurite.test.svc:10000"}, "http://azurite.test.svc:10000"),
        ({"endpoint": "http://azurite.test.svc:10000", "pathStyle": "true"}, "http://azurite.test.svc:10000/account"),
        ({"endpoint": "https://10.0.0.7", "pathStyle": "no"}, "https://10.0.0.7"),
    ],
)
def test_the_account_is_in_the_host_or_in_the_path(given: dict[str, str], url: str) -> None:
    assert parse_parameters({**LEAST, **given}).url == url


def test_all_mistakes_are_told_at_once() -> None:
    wrong = {
        "storageAccount": "Not-An-Account",
        "endpoint": "https://host/path",
        "pathStyle": "perhaps",
        "credentials": "keys",
        "permissions": "wz",
        "expiry": "soon",
        "authorityHost": "http://login.example.com",
        "secretName": "admin",
    }
    with pytest.raises(InvalidParameters) as refused:
        parse_parameters(wrong)
    named = {mistake.split()[0] for mistake in refused.value.mistakes}
    assert named == {*wrong, "secretNamespace"} - {"secretName"}


def test_an_account_is_required() -> None:
    with pytest.raises(InvalidParameters, match="storageAccount is required"):
        parse_parameters({"secretName": "admin", "secretNamespace": "azure"})


def test_an_unknown_parameter_is_warned_about_and_the_cores_own_is_not() -> None:
    (warning,) = parse_parameters({**LEAST, "bucketName": "b", "endPoint": "x"}).warnings
    assert "endPoint" in warning


@pytest.mark.parametrize(
    ("given", "letters"),
    [("", "racwdxltf"), ("lr", "rl"), ("iemftlxdwcar", "racwdxltfmei"), ("r", "r"), ("lw", "wl")],
)
def test_permissions_come_in_azures_order(given: str, letters: str) -> None:
    assert parse_parameters({**LEAST, "permissions": given}).permissions == letters


@pytest.mark.parametrize("given", ["wd", "rop", "ry", "R", "r,l"])
def test_permissions_that_are_settings_or_can_not_be_tried_are_refused(given: str) -> None:
    with pytest.raises(InvalidParameters, match="permissions"):
        parse_parameters({**LEAST, "permissions": given})


@pytest.mark.parametrize(
    ("given", "delegated", "lifetime"),
    [
        ("", False, timedelta(days=3650)),
        ("", True, timedelta(hours=24)),
        ("90d", False, timedelta(days=90)),
        ("7d", True, timedelta(days=7)),
        ("12h", True, timedelta(hours=12)),
        ("90m", False, timedelta(minutes=90)),
    ],
)
def test_how_long_a_sas_lasts(given: str, delegated: bool, lifetime: timedelta) -> None:
    assert parse_parameters({**(DELEGATED if delegated else LEAST), "expiry": given}).lifetime == lifetime


@pytest.mark.parametrize(
    ("given", "delegated"),
    [("8d", True), ("59m", False), ("0d", False), ("1w", False), ("-1d", True), ("40000d", False)],
)
def test_a_lifetime_that_azure_or_the_core_can_not_keep_is_refused(given: str, delegated: bool) -> None:
    with pytest.raises(InvalidParameters, match="expiry"):
        parse_parameters({**(DELEGATED if delegated else LEAST), "expiry": given})


def test_without_a_secret_only_the_pods_identity_is_left_and_that_delegates() -> None:
    assert parse_parameters(DELEGATED).delegated
    with pytest.raises(InvalidParameters, match="credentials: user-delegation-sas"):
        parse_parameters({"storageAccount": "account"})


def test_a_token_does_not_travel_in_the_clear() -> None:
    with pytest.raises(InvalidParameters, match="endpoint must be https"):
        parse_parameters({**DELEGATED, "endpoint": "http://127.0.0.1:10000"})
    assert not parse_parameters({**LEAST, "endpoint": "http://127.0.0.1:10000"}).secure


@pytest.mark.parametrize(
    "data",
    [
        {"AZURE_STORAGE_KEY": "a2V5\n"},
        {"AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=a2V5;"},
        {"AZURE_STORAGE_CONNECTION_STRING": "AccountKey=a2V5"},
        {"AZURE_STORAGE_KEY": "a2V5", "AZURE_STORAGE_CONNECTION_STRING": "of=no;use", **CLIENT},
    ],
)
def test_the_key_is_found_in_either_form(data: dict[str, str]) -> None:
    admin = parse_admin(_secret(data), parse_parameters(LEAST))
    assert admin.key is not None
    assert admin.key.reveal() == "a2V5"
    assert "a2V5" not in repr(admin)


@pytest.mark.parametrize(
    ("endpoint", "of_the_string"),
    [
        ("https://account.blob.core.chinacloudapi.cn", "EndpointSuffix=core.chinacloudapi.cn"),
        ("https://account.privatelink.blob.core.windows.net", "EndpointSuffix=core.windows.net"),
        ("", "EndpointSuffix=core.windows.net"),
        ("", "BlobEndpoint=https://account.blob.core.windows.net/"),
    ],
)
def test_a_connection_string_may_name_the_endpoint_of_the_class(endpoint: str, of_the_string: str) -> None:
    data = {"AZURE_STORAGE_CONNECTION_STRING": f"AccountKey=a2V5;{of_the_string}"}
    parameters = parse_parameters({**LEAST, **({"endpoint": endpoint} if endpoint else {})})
    assert parse_admin(_secret(data), parameters).key is not None


def test_an_identity_signs_by_default_what_its_documented_role_allows() -> None:
    assert parse_parameters(DELEGATED).permissions == "racwdl"
    assert parse_parameters(LEAST).permissions == "racwdxltf"


def test_a_class_that_lets_claims_lock_blobs_is_warned_about() -> None:
    (warning,) = parse_parameters({**LEAST, "permissions": "rli"}).warnings
    assert "immutability" in warning
    assert parse_parameters({**LEAST, "permissions": "rl"}).warnings == ()


def test_an_account_in_the_path_is_an_emulator() -> None:
    assert parse_parameters({**LEAST, "endpoint": "http://127.0.0.1:10000"}).is_emulated
    assert not parse_parameters(LEAST).is_emulated
    assert not parse_parameters({**LEAST, "endpoint": "https://account.example.com"}).is_emulated


def test_a_client_is_read_whole() -> None:
    admin = parse_admin(_secret(CLIENT), parse_parameters({**LEAST, "credentials": "user-delegation-sas"}))
    assert admin.client is not None
    assert (admin.client.tenant, admin.client.client, admin.client.secret.reveal()) == ("t", "c", "s3cr3t")
    assert "s3cr3t" not in repr(admin)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({}, "AZURE_STORAGE_KEY"),
        ({"AZURE_STORAGE_KEY": ""}, "AZURE_STORAGE_KEY"),
        ({"AZURE_STORAGE_KEY": "no base64: s3cr3t"}, "AZURE_STORAGE_KEY"),
        ({"AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=x;SharedAccessSignature=s3cr3t"}, "AccountKey"),
        ({"AZURE_STORAGE_CONNECTION_STRING": "AccountName=other;AccountKey=a2V5"}, "storageAccount"),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountKey=a2V5;EndpointSuffix=core.chinacloudapi.cn"},
            "parameter endpoint",
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountKey=a2V5;BlobEndpoint=https://photos.example.com"},
            "parameter endpoint",
        ),
        ({"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}, "AZURE_CLIENT_SECRET"),
        (CLIENT, "credentials: user-delegation-sas"),
    ],
)
def test_what_a_secret_lacks_is_named(data: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidAdminSecret, match=named) as refused:
        parse_admin(_secret(data), parse_parameters(LEAST))
    assert "azure/admin" in refused.value.message
    assert "s3cr3t" not in refused.value.message


def test_a_key_can_not_delegate() -> None:
    with pytest.raises(InvalidAdminSecret, match="AZURE_CLIENT_SECRET"):
        parse_admin(_secret({"AZURE_STORAGE_KEY": "a2V5"}), parse_parameters({**LEAST, **DELEGATED}))
