"""Every parser that a claim or a class can reach: bounded, in time and in what its message repeats.

Deadlines are in milliseconds, and a hundred times what the parsers take.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libbucket import (
    AccessKeys,
    Authentication,
    InvalidAdminSecret,
    InvalidClaim,
    InvalidConfig,
    InvalidParameters,
    Reason,
    SecretStr,
    Services,
)
from libbucket.testing import builders
from libbucket.testing.certificates import Authority
from minio_provisioner.access import own_keys
from minio_provisioner.client import connect
from minio_provisioner.identity import Identity
from minio_provisioner.parameters import (
    MAX_PEM,
    Admin,
    Quotas,
    parse_admin,
    parse_parameters,
    parse_quota,
    parse_store_id,
    parse_versioning,
)
from minio_provisioner.policy import Note, build_access, fingerprint_of, is_intent, is_same, note_in
from minio_provisioner.provisioner import MinioProvisioner, _check_name
from minio_provisioner.storage import _NAMED_IN_XML

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 200
LONGEST_MESSAGE = 1000

LEAST = {"endpoint": "http://minio.example.com:9000", "secretName": "admin", "secretNamespace": "minio"}
POISONED = ["1e3000000", "1e400000", "9" * 300_000, "1E-999999999", "[" * 100_000, "\x00", "\ud7ff" * 70_000, "é" * 300]
anything = (
    st.text() | st.sampled_from(POISONED) | st.from_regex(r"[-+]?[0-9.eE+-]{1,20}[kKMGTPEmun]?i?", fullmatch=True)
)


def refused(call: Callable[[], object], kind: type[InvalidConfig | InvalidClaim | InvalidParameters]) -> str:
    """What the refusal says; empty where it is none."""
    message = ""
    try:
        call()
    except kind as error:
        message = error.message
    assert len(message) < LONGEST_MESSAGE
    return message


@pytest.mark.parametrize("key", ["maxSize", "bucketMaxSize"])
@settings(deadline=DEADLINE)
@given(anything)
def test_any_size_is_parsed_or_refused_at_once_and_named(key: str, value: str) -> None:
    message = refused(lambda: parse_quota({key: value}, Quotas()), InvalidConfig)
    assert not message or message.startswith(f"additionalConfig.{key} ")


@pytest.mark.parametrize("value", POISONED)
def test_a_malformed_size_is_refused_and_the_other_key_is_parsed(value: str) -> None:
    assert refused(lambda: parse_quota({"maxSize": value, "bucketMaxSize": "1Gi"}, Quotas()), InvalidConfig)
    assert parse_quota({"bucketMaxSize": "1Gi"}, Quotas()) == 2**30


@settings(deadline=DEADLINE)
@given(anything)
def test_any_word_for_versioning_is_parsed_or_refused_at_once_and_named(value: str) -> None:
    message = refused(lambda: parse_versioning({"bucketVersioning": value}, object_locking=False), InvalidConfig)
    assert message.startswith("additionalConfig.bucketVersioning ") or value in {"Enabled", "Suspended"}


@settings(deadline=DEADLINE)
@given(anything | st.from_regex(r"[0-9.]{1,80}", fullmatch=True))
def test_any_bucket_name_is_taken_or_refused_at_once(name: str) -> None:
    message = refused(lambda: _check_name(name), InvalidClaim)
    assert not message or message.startswith("spec.bucketName ")


@settings(deadline=DEADLINE)
@given(st.text(), anything)
def test_any_credentials_in_a_claim_s_secret_are_used_or_not_at_once(user: str, secret: str) -> None:
    keys = AccessKeys(access_key_id=user, secret_access_key=SecretStr(secret))
    options = builders.options(credentials=Authentication(access_keys=keys))
    found = own_keys(options, "obc-the-claims-own")
    assert found is None or (user == "obc-the-claims-own" and len(secret) <= 128)


hosts = st.text(max_size=300) | st.from_regex(r"[a-z0-9.:\[\]%_*@/?# -]{1,60}", fullmatch=True)
urls = st.builds("".join, st.tuples(st.sampled_from(["", "http://", "https://", "HTTPS://", "ftp://"]), hosts))
classes = st.fixed_dictionaries(
    {},
    optional={
        "endpoint": urls | anything,
        "publicEndpoint": urls | anything,
        "secure": st.sampled_from(["true", "no", "perhaps", ""]) | anything,
        "region": anything,
        "caBundle": anything | st.just("-----BEGIN CERTIFICATE-----\n" * 9000),
        "versioning": anything,
        "objectLocking": anything,
        "secretName": anything,
        "secretNamespace": anything,
    },
)


@settings(deadline=DEADLINE)
@given(classes)
def test_any_class_is_parsed_or_refused_at_once_and_can_be_connected_to(given_: dict[str, str]) -> None:
    with suppress(InvalidParameters):
        parsed = parse_parameters({**LEAST, **given_})
        admin = Admin(access_key="key", secret_key=SecretStr("secret"))
        with connect(parsed, admin, fence=lambda: None, read_seconds=1):
            pass


@settings(deadline=DEADLINE)
@given(classes)
def test_any_class_has_a_store_id(given_: dict[str, str]) -> None:
    found = parse_store_id(given_)
    assert len(found) <= 1100
    provisioner = MinioProvisioner(Services(read_secret=lambda _namespace, _name: {}))
    assert provisioner.store_id(given_) == found


@pytest.mark.parametrize(
    "given_",
    [
        {"endpoint": "https://MinIO.example.com"},
        {"endpoint": "https://minio.example.com:443/"},
        {"endpoint": " https://minio.example.com "},
        {"endpoint": "minio.example.com", "secure": "true"},
        {"endpoint": "http://minio.example.com", "secure": "yes"},
        {"endpoint": "https://minio.example.com", "region": "not a region", "secretName": "another"},
    ],
    ids=str,
)
def test_classes_of_one_server_have_one_store_id(given_: dict[str, str]) -> None:
    assert parse_store_id(given_) == "https://minio.example.com"


@pytest.mark.parametrize(
    "endpoint", ["http://minio.example.com", "https://minio.example.com:9000", "https://other", ""]
)
def test_classes_of_other_servers_have_other_store_ids(endpoint: str) -> None:
    assert parse_store_id({"endpoint": endpoint}) != "https://minio.example.com"


@pytest.mark.parametrize("name", ["endpoint", "publicEndpoint", "region", "secure", "secretName", "noSuchParameter"])
def test_a_parameter_that_is_too_long_is_named(name: str) -> None:
    message = refused(lambda: parse_parameters({**LEAST, name: "x" * 2000}), InvalidParameters)
    assert f"{name} must be at most 1,024 characters long" in message


@pytest.mark.parametrize("host", ["a b", "*", "münchen.example", "-", "a%20b"])
def test_a_host_that_no_client_takes_is_named(host: str) -> None:
    assert "endpoint" in refused(lambda: parse_parameters({**LEAST, "endpoint": f"https://{host}"}), InvalidParameters)


def test_a_host_of_aws_that_the_client_refuses_is_no_bug() -> None:
    parsed = parse_parameters({**LEAST, "endpoint": "https://wrong.s3.example.amazonaws.com"})
    admin = Admin(access_key="key", secret_key=SecretStr("secret"))
    connecting = connect(parsed, admin, fence=lambda: None, read_seconds=1)
    with pytest.raises(InvalidParameters, match="endpoint"), connecting:
        pass


def test_every_authority_of_a_system_fits_and_more_does_not() -> None:
    certificate = Authority().certificate_pem.decode()
    bundle = certificate * (220 * 1024 // len(certificate))
    assert parse_parameters({**LEAST, "caBundle": bundle}).ca_bundle == bundle.strip()
    message = refused(lambda: parse_parameters({**LEAST, "caBundle": certificate * 1000}), InvalidParameters)
    assert f"caBundle must be at most {MAX_PEM:,} characters long" in message


@settings(deadline=DEADLINE)
@given(
    st.dictionaries(
        st.sampled_from(["MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "AWS_ACCESS_KEY_ID", "ca.crt"]), anything
    )
)
def test_any_administrators_secret_is_parsed_or_refused_at_once(data: dict[str, str]) -> None:
    with suppress(InvalidAdminSecret):
        parse_admin({key: SecretStr(value) for key, value in data.items()}, named="minio/admin")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MINIO_ROOT_USER", "a\nb"),
        ("MINIO_ROOT_USER", "é"),
        ("MINIO_ROOT_PASSWORD", "x" * 2000),
        ("ca.crt", "x" * 300_000),
    ],
    ids=["line", "letter", "long", "bundle"],
)
def test_what_an_administrators_secret_can_not_hold_is_named_and_not_repeated(key: str, value: str) -> None:
    good = {"MINIO_ROOT_USER": SecretStr("u"), "MINIO_ROOT_PASSWORD": SecretStr("p")}
    assert parse_admin(good, named="minio/admin").access_key == "u"
    with pytest.raises(InvalidAdminSecret, match=f"key {key} must") as told:
        parse_admin({**good, key: SecretStr(value)}, named="minio/admin")
    assert value not in told.value.message
    assert told.value.reason is Reason.INVALID_ADMIN_SECRET


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Statement", "Sid", "Resource", "Effect", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=DEADLINE)
@given(st.dictionaries(st.sampled_from(["Statement", "Version"]), documents))
def test_any_policy_that_was_written_manually_is_parsed(document: dict[str, object]) -> None:
    assert note_in(document).generation >= 1
    assert not is_same(document, build_access("photos", locks=None))
    assert is_intent(document, "photos") in {True, False}


@given(st.integers(1, 10**9 - 1), st.text() | st.just(""))
def test_the_policy_notes_for_which_user_and_keys_it_was_written(generation: int, secret: str) -> None:
    note = Note(generation=generation, fingerprint=fingerprint_of(secret) if secret else "")
    assert note_in(build_access("photos", locks=None, note=note)) == note
    assert note.sid.isalnum()


def test_the_policy_of_a_first_user_is_what_it_always_was() -> None:
    statements = build_access("photos", locks=None)["Statement"]
    assert [one["Sid"] for one in statements] == ["Bucket", "Objects", "NoIdentities"]


def identity(user: str) -> Identity:
    clients: object = None
    return Identity(clients=clients, user=user, policy="obc-shop-photos")  # type: ignore[arg-type]


@given(st.integers(1, 10**9 - 2))
def test_users_of_one_claim_follow_each_other(generation: int) -> None:
    one = identity("obc-shop-photos").of_generation(generation)
    assert one.generation == generation
    assert one.successor.predecessor == one


@settings(deadline=DEADLINE)
@given(anything | st.builds("obc-shop-photos-{}".format, anything))
def test_any_recorded_name_of_a_user_has_a_generation(user: str) -> None:
    assert 1 <= identity(user).generation < 10**9


@settings(deadline=DEADLINE)
@given(st.text(st.characters(exclude_categories=[]), max_size=1024))
def test_names_that_go_into_a_batch_come_out_of_a_parser_as_they_were(name: str) -> None:
    from xml.etree import ElementTree as ET

    is_named = _NAMED_IN_XML.fullmatch(name) is not None
    element = ET.Element("Key")
    element.text = name
    try:
        read = ET.fromstring(ET.tostring(element)).text or ""
    except (ET.ParseError, UnicodeEncodeError):
        read = None
    assert not is_named or read == name
    assert is_named or read != name or set(name) & {"\ufffe", "\uffff"}, "and no name is sent by itself without need"
