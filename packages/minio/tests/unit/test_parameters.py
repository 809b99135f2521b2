"""StorageClass parameters, the administrator's Secret and additionalConfig, as they are written and mistyped."""

from __future__ import annotations

import pytest

from libbucket import InvalidAdminSecret, InvalidConfig, InvalidParameters, SecretStr
from libbucket.testing.certificates import Authority
from minio_provisioner.parameters import Locks, Quotas, parse_admin, parse_parameters, parse_quota, parse_versioning

LEAST = {"endpoint": "http://minio.example.com:9000", "secretName": "admin", "secretNamespace": "minio"}


def _secret(**data: str) -> dict[str, SecretStr]:
    return {key.replace("_crt", ".crt"): SecretStr(value) for key, value in data.items()}


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"endpoint": "https://minio.example.com"}, "https://minio.example.com"),
        ({"endpoint": "http://minio.example.com"}, "http://minio.example.com"),
        ({"endpoint": "http://minio.example.com:9000/"}, "http://minio.example.com:9000"),
        ({"endpoint": "minio.example.com:9000", "secure": "true"}, "https://minio.example.com:9000"),
        ({"endpoint": "minio.example.com:9000", "secure": "no"}, "http://minio.example.com:9000"),
        ({"endpoint": "https://minio.example.com:9000", "secure": "false"}, "http://minio.example.com:9000"),
        ({"endpoint": "http://[::1]:9000"}, "http://[::1]:9000"),
    ],
)
def test_the_scheme_decides_unless_secure_is_given(given: dict[str, str], url: str) -> None:
    parsed = parse_parameters({**LEAST, **given})
    assert parsed.endpoint.url == url
    assert parsed.public == parsed.endpoint


def test_a_host_without_scheme_and_without_secure_is_a_mistake() -> None:
    with pytest.raises(InvalidParameters, match="secure must say which"):
        parse_parameters({**LEAST, "endpoint": "minio.example.com:9000"})


def test_all_mistakes_are_told_at_once() -> None:
    wrong = {
        "endpoint": "https://minio.example.com/path",
        "publicEndpoint": "ftp://x",
        "secure": "perhaps",
        "region": "not a region",
        "caBundle": "not a certificate",
        "objectLocking": "true",
        "versioning": "false",
    }
    with pytest.raises(InvalidParameters) as refused:
        parse_parameters(wrong)
    named = {mistake.split()[0] for mistake in refused.value.mistakes}
    assert named == {*wrong, "secretName", "secretNamespace"} - {"objectLocking"}


def test_an_unknown_parameter_is_warned_about_and_the_cores_own_is_not() -> None:
    (warning,) = parse_parameters({**LEAST, "bucketName": "b", "endPoint": "x"}).warnings
    assert "endPoint" in warning


def test_object_locking_brings_versioning() -> None:
    assert parse_parameters({**LEAST, "objectLocking": "true"}).versioning
    assert not parse_parameters(LEAST).versioning


def test_a_bundle_of_certificates_is_taken_whole() -> None:
    bundle = (Authority().certificate_pem + Authority().certificate_pem).decode()
    assert parse_parameters({**LEAST, "caBundle": bundle}).ca_bundle == bundle.strip()


@pytest.mark.parametrize(
    "data",
    [
        {"MINIO_ROOT_USER": "u", "MINIO_ROOT_PASSWORD": "p\n"},
        {"AWS_ACCESS_KEY_ID": "u", "AWS_SECRET_ACCESS_KEY": "p"},
        {"rootUser": "u", "rootPassword": "p"},
        {"root-user": "u", "root-password": "p"},
        {"MINIO_ROOT_USER": "u", "MINIO_ROOT_PASSWORD": "p", "AWS_ACCESS_KEY_ID": "other"},
    ],
)
def test_the_secret_may_have_any_pair_of_keys(data: dict[str, str]) -> None:
    admin = parse_admin(_secret(**data), named="minio/admin")
    assert (admin.access_key, admin.secret_key.reveal()) == ("u", "p")
    assert "'p'" not in repr(admin)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({}, "MINIO_ROOT_USER"),
        ({"MINIO_ROOT_USER": "u"}, "MINIO_ROOT_PASSWORD"),
        ({"AWS_SECRET_ACCESS_KEY": "p", "AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID"),
        ({"MINIO_ROOT_USER": "u", "MINIO_ROOT_PASSWORD": "p", "ca_crt": "rubbish"}, "ca.crt"),
    ],
)
def test_what_a_secret_lacks_is_named(data: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidAdminSecret, match=named) as refused:
        parse_admin(_secret(**data), named="minio/admin")
    assert "minio/admin" in refused.value.message


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({}, None),
        ({"maxSize": "1Ki"}, 1024),
        ({"maxSize": "2k", "bucketMaxSize": "1k"}, 1000),
        ({"maxSize": "0", "bucketMaxSize": "1k"}, 1000),
        ({"maxSize": "0"}, 0),
    ],
)
def test_the_smaller_size_is_the_quota_and_0_is_none(config: dict[str, str], size: int | None) -> None:
    assert parse_quota(config, Quotas()) == size
    assert parse_quota(config, Quotas(default=77)) == (77 if size is None else size)


@pytest.mark.parametrize(
    ("given", "config", "size"),
    [
        ({"quota": "1Gi", "maxQuota": "2Gi"}, {}, 2**30),
        ({"quota": "1Gi", "maxQuota": "2Gi"}, {"maxSize": "2Gi"}, 2 * 2**30),
        ({"maxQuota": "2Gi"}, {}, 2 * 2**30),
        ({"maxQuota": "2Gi"}, {"maxSize": "9Gi", "bucketMaxSize": "1Gi"}, 2**30),
        ({"quota": "0"}, {}, 0),
    ],
)
def test_a_class_has_a_default_quota_and_a_largest_one(
    given: dict[str, str], config: dict[str, str], size: int
) -> None:
    assert parse_quota(config, parse_parameters({**LEAST, **given}).quotas) == size


@pytest.mark.parametrize("value", ["2049Mi", "0", "1Ti"])
def test_a_claim_can_not_have_more_than_the_largest_quota_and_not_none(value: str) -> None:
    with pytest.raises(InvalidConfig, match=r"additionalConfig\.bucketMaxSize must be between .* maxQuota"):
        parse_quota({"bucketMaxSize": value}, parse_parameters({**LEAST, "maxQuota": "2Gi"}).quotas)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"quota": "many"}, "quota"),
        ({"maxQuota": "-1"}, "maxQuota"),
        ({"maxQuota": "0"}, "maxQuota"),
        ({"maxQuota": "9Ei"}, "maxQuota"),
        ({"quota": "3Gi", "maxQuota": "2Gi"}, "quota"),
        ({"quota": "0", "maxQuota": "2Gi"}, "quota"),
        ({"objectLocking": "true", "maxRetentionDays": "-1"}, "maxRetentionDays"),
        ({"objectLocking": "true", "maxRetentionDays": "36501"}, "maxRetentionDays"),
        ({"objectLocking": "true", "retentionMode": "governance"}, "retentionMode"),
        ({"maxRetentionDays": "7"}, "maxRetentionDays"),
        ({"retentionMode": "GOVERNANCE"}, "retentionMode"),
    ],
)
def test_bounds_of_a_class_that_can_not_be_right_are_named(given: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidParameters) as refused:
        parse_parameters({**LEAST, **given})
    assert [mistake.split()[0] for mistake in refused.value.mistakes] == [named]


def test_a_class_with_object_locking_may_bound_it() -> None:
    given = {**LEAST, "objectLocking": "true"}
    assert parse_parameters(LEAST).locks is None
    assert parse_parameters(given).locks == Locks()
    assert parse_parameters({**given, "maxRetentionDays": "0"}).locks == Locks(max_days=0)
    bounded = {**given, "maxRetentionDays": "30", "retentionMode": "GOVERNANCE"}
    assert parse_parameters(bounded).locks == Locks(max_days=30, mode="GOVERNANCE")


@pytest.mark.parametrize("value", ["", "many", "-1", "1e9999", "8Ei", "NaN"])
@pytest.mark.parametrize("key", ["maxSize", "bucketMaxSize"])
def test_a_size_that_is_none_is_refused_by_its_key(key: str, value: str) -> None:
    with pytest.raises(InvalidConfig, match=key):
        parse_quota({key: value}, Quotas())


@pytest.mark.parametrize("value", ["enabled", "", "Off"])
def test_another_word_for_versioning_is_refused(value: str) -> None:
    with pytest.raises(InvalidConfig, match="bucketVersioning"):
        parse_versioning({"bucketVersioning": value}, object_locking=False)
