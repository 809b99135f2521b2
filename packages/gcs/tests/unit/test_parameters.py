"""Classes, claims and Secrets: what is taken, and what is refused by name."""

from __future__ import annotations

import json

import pytest

from gcs_provisioner.admin_secret import Admin, parse_admin
from gcs_provisioner.parameters import Kind, parse_kubernetes_account, parse_parameters, parse_versioning
from libbucket import InvalidAdminSecret, InvalidConfig, InvalidParameters, SecretStr

KEY = {
    "type": "service_account",
    "project_id": "my-project-123",
    "client_email": "provisioner@my-project-123.iam.gserviceaccount.com",
    "private_key": "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n",
    "token_uri": "https://oauth2.googleapis.com/token",
}


def test_a_class_may_say_nothing_at_all() -> None:
    parsed = parse_parameters({})
    assert parsed.endpoint == "https://storage.googleapis.com"
    assert (parsed.host, parsed.port, parsed.is_secure) == ("storage.googleapis.com", 443, True)
    assert (parsed.kind, parsed.secret_name, parsed.soft_delete_seconds) == (Kind.HMAC, "", None)
    assert parsed.revocation_seconds == 180
    assert parsed.warnings == ()


def test_everything_that_a_class_says_is_read() -> None:
    parsed = parse_parameters(
        {
            "project": "my-project-123",
            "region": "europe-west3",
            "secretName": "admin",
            "secretNamespace": "gcs",
            "storageClass": "NEARLINE",
            "kmsKeyName": "projects/p/locations/l/keyRings/r/cryptoKeys/k",
            "labels": "team=shop, cost-centre=12",
            "versioning": "true",
            "softDeleteSeconds": "0",
            "endpoint": "https://storage.example.com/",
            "iamEndpoint": "https://iam.example.com:8443",
            "serviceAccount": "shared@my-project-123.iam.gserviceaccount.com",
            "credentials": "both",
            "workloadIdentityPool": "fleet.svc.id.goog",
            "revocationSeconds": "0",
            "bucketName": "reports",
        }
    )
    assert parsed.warnings == ()
    assert parsed.labels == {"team": "shop", "cost-centre": "12"}
    assert (parsed.soft_delete_seconds, parsed.revocation_seconds) == (0, 0)
    assert parsed.endpoint == "https://storage.example.com"
    assert (parsed.kind.has_hmac, parsed.kind.has_json_key) == (True, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project", "My Project"),
        ("region", "in Europe"),
        ("storageClass", "nearline"),
        ("kmsKeyName", "my-key"),
        ("labels", "team"),
        ("labels", "Team=shop"),
        ("labels", "team=The StoreEnvironment"),
        ("labels", "objectbucket_claim_uid=1"),
        ("labels", ",".join(f"l{n}=x" for n in range(61))),
        ("autoclass", "perhaps"),
        ("dataLocations", "europe-west1"),
        ("dataLocations", "europe-west1,europe-west1"),
        ("dataLocations", "europe-west1,europe-west4,europe-west9"),
        ("dataLocations", "europe-west1,in Europe"),
        ("dataLocations", "europe-west1,europe-west4"),  # without region
        ("versioning", "sometimes"),
        ("softDeleteSeconds", "60"),
        ("softDeleteSeconds", "7776001"),
        ("softDeleteSeconds", "week"),
        ("endpoint", "storage.googleapis.com"),
        ("iamEndpoint", "https://iam.googleapis.com/v1"),
        ("serviceAccount", "shared"),
        ("credentials", "password"),
        ("workloadIdentityPool", "a pool"),
        ("revocationSeconds", "-1"),
    ],
)
def test_a_value_that_can_not_be_right_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidParameters, match=name):
        parse_parameters({name: value})


@pytest.mark.parametrize("storage_class", ["NEARLINE", "ARCHIVE"])
def test_autoclass_leaves_no_choice_of_the_storage_class(storage_class: str) -> None:
    assert parse_parameters({"autoclass": "true", "storageClass": "STANDARD"}).autoclass
    with pytest.raises(InvalidParameters, match="autoclass"):
        parse_parameters({"autoclass": "true", "storageClass": storage_class})


def test_two_regions_are_taken_with_their_multi_region() -> None:
    parsed = parse_parameters({"region": "EU", "dataLocations": "europe-west1,europe-west4"})
    assert parsed.data_locations == ("europe-west1", "europe-west4")


@pytest.mark.parametrize(("given", "missing"), [("secretName", "secretNamespace"), ("secretNamespace", "secretName")])
def test_half_a_secret_is_refused(given: str, missing: str) -> None:
    with pytest.raises(InvalidParameters, match=f"{missing} is required"):
        parse_parameters({given: "x"})


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidParameters) as refused:
        parse_parameters({"region": "in Europe", "storageClass": "cold", "versioning": "maybe"})
    assert len(refused.value.mistakes) == 3


def test_a_parameter_that_is_unknown_is_warned_about() -> None:
    assert "regoin" in parse_parameters({"regoin": "EU"}).warnings[0]


@pytest.mark.parametrize(
    "name", ["GOOGLE_APPLICATION_CREDENTIALS_JSON", "key.json", "credentials.json", "service-account.json"]
)
def test_the_usual_names_of_a_key_file_are_taken(name: str) -> None:
    admin = parse_admin({name: SecretStr(json.dumps(KEY))}, named="gcs/admin")
    assert (admin.project, admin.token_uri) == ("my-project-123", KEY["token_uri"])
    assert admin.reveal() == KEY
    assert "secret" not in repr(admin)


@pytest.mark.parametrize(
    ("held", "word"),
    [
        ({}, "key.json"),
        ({"key.json": ""}, "key.json"),
        ({"key.json": "no JSON"}, "JSON key of a service account"),
        ({"key.json": "[]"}, "JSON key of a service account"),
        ({"key.json": json.dumps({**KEY, "type": "authorized_user"})}, "JSON key of a service account"),
        ({"key.json": json.dumps({**KEY, "type": "external_account"})}, "credential_source"),
        ({"key.json": json.dumps({**KEY, "private_key": ""})}, "private_key"),
        ({"key.json": json.dumps({**KEY, "client_email": None})}, "client_email"),
    ],
)
def test_a_secret_that_is_no_key_is_refused_by_name(held: dict[str, str], word: str) -> None:
    with pytest.raises(InvalidAdminSecret, match=word) as refused:
        parse_admin({name: SecretStr(value) for name, value in held.items()}, named="gcs/admin")
    assert "gcs/admin" in refused.value.message
    assert "BEGIN" not in refused.value.message


@pytest.mark.parametrize(("value", "wanted"), [(None, None), ("Enabled", True), ("Suspended", False)])
def test_versioning_is_on_off_or_unsaid(value: str | None, wanted: bool | None) -> None:
    assert parse_versioning({} if value is None else {"bucketVersioning": value}) is wanted


def test_another_word_for_versioning_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="bucketVersioning"):
        parse_versioning({"bucketVersioning": "true"})


@pytest.mark.parametrize("name", ["default", "my-app.v2"])
def test_a_kubernetes_service_account_is_taken(name: str) -> None:
    assert parse_kubernetes_account({"kubernetesServiceAccount": name}) == name


@pytest.mark.parametrize("name", ["", "other/app", "app]", "App"])
def test_a_kubernetes_service_account_that_cannot_exist_is_refused(name: str) -> None:
    with pytest.raises(InvalidConfig, match="kubernetesServiceAccount"):
        parse_kubernetes_account({"kubernetesServiceAccount": name})


EXTERNAL = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/p/providers/x",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
    "credential_source": {"file": "/var/run/secrets/tokens/gcp"},
}


def parse_external(**changes: object) -> Admin:
    return parse_admin({"key.json": SecretStr(json.dumps({**EXTERNAL, **changes}))}, named="gcs/admin")


def test_an_external_account_with_a_token_in_a_file_is_an_administrator() -> None:
    """https://google.aip.dev/auth/4117."""
    admin = parse_external()
    assert admin.subject_file == "/var/run/secrets/tokens/gcp"
    assert set(admin.reveal()) == {"audience", "subject_token_type", "token_url"}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"credential_source": {"executable": {"command": "/bin/sh"}}}, "credential_source"),
        ({"credential_source": {"url": "http://169.254.169.254/"}}, "credential_source"),
        ({"credential_source": {"file": "relative"}}, "credential_source"),
        ({"token_url": "https://example.com/token"}, "token_url"),
        ({"token_url": "https://sts.googleapis.com.example.com/v1/token"}, "token_url"),
        ({"service_account_impersonation_url": "https://example.com/"}, "service_account_impersonation_url"),
        ({"audience": ""}, "audience"),
    ],
)
def test_an_external_account_may_run_no_program_and_name_no_foreign_address(
    changes: dict[str, object], word: str
) -> None:
    with pytest.raises(InvalidAdminSecret, match=word):
        parse_external(**changes)


def test_a_federated_identity_needs_no_service_account() -> None:
    given = {"credentials": "workload-identity-federation", "serviceAccount": "a@p.iam.gserviceaccount.com"}
    with pytest.raises(InvalidParameters, match="serviceAccount"):
        parse_parameters(given)
