"""What tenants and classes can write is bounded before it is parsed: refused by name, and at once."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcs_provisioner.admin_secret import parse_admin
from gcs_provisioner.buckets import is_bucket_name
from gcs_provisioner.keys import own_key
from gcs_provisioner.parameters import parse_kubernetes_account, parse_parameters, parse_versioning
from gcs_provisioner.provisioner import GcsProvisioner
from gcs_provisioner.refusals import constraint_of, reason_of, request_id_of
from libbucket import InvalidAdminSecret, InvalidConfig, InvalidParameters, ProvisionerError, SecretStr, Services

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEADLINE = 200
"""Milliseconds: a hundred times what the parsers take."""

PARAMETERS = [
    *("project", "region", "secretName", "secretNamespace", "storageClass", "kmsKeyName", "labels", "versioning"),
    *("softDeleteSeconds", "endpoint", "iamEndpoint", "serviceAccount", "credentials", "workloadIdentityPool"),
    *("workloadIdentityProjectNumber", "impersonateServiceAccount", "secondsPerBucket"),
    *("revocationSeconds", "bucketName", "noSuchParameter"),
]
HUGE = 200_000


class Written(str):
    """A text that shows its beginning only, so that a report stays short."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{str.__repr__(self[:20])} ({len(self):,} characters)"


POISONED = [
    *("9" * HUGE, "1e400000", "a" * HUGE, "-" * HUGE, "a-" * HUGE, "a." * HUGE + "@", "," * HUGE, "=," * HUGE),
    *("{" * HUGE, "[" * HUGE, '"' * HUGE, "http://" + "a" * HUGE, "\0" * HUGE, "ü" * HUGE, " " * HUGE, "a=b," * HUGE),
]
TEXTS = st.text() | st.text("abz09:@.,=/-") | st.sampled_from([Written(each) for each in POISONED])


def refusal(
    parse: Callable[[Mapping[str, str]], object], written: Mapping[str, str], kind: type[ProvisionerError]
) -> str:
    """What the parser says against it; "" where it takes it."""
    try:
        parse(written)
    except kind as refused:
        return str(refused)
    return ""


class Reply:
    """An answer of whatever is at the endpoint."""

    def __init__(self, content: bytes) -> None:
        self.content = content


@settings(deadline=DEADLINE)
@given(st.dictionaries(st.sampled_from(PARAMETERS), TEXTS, max_size=4))
def test_any_parameters_are_read_or_refused_by_name_at_once(written: Mapping[str, str]) -> None:
    said = refusal(parse_parameters, written, InvalidParameters)
    assert len(said) < 20_000
    assert not said or any(name in said for name in (*written, "secretName", "secretNamespace"))


@pytest.mark.parametrize("name", [each for each in PARAMETERS if each != "labels"])
def test_a_parameter_has_at_most_256_characters(name: str) -> None:
    with pytest.raises(InvalidParameters, match=f"{name}.*at most 256 characters"):
        parse_parameters({name: "a" * 257})


def test_labels_have_at_most_what_google_takes() -> None:
    assert len(parse_parameters({"labels": ",".join(f"k{n}=" + "v" * 63 for n in range(60))}).labels) == 60
    with pytest.raises(InvalidParameters, match=r"labels.*at most 8256 characters"):
        parse_parameters({"labels": "a" * 8257})


@pytest.mark.parametrize("name", ["revocationSeconds", "softDeleteSeconds"])
def test_a_duration_has_an_end(name: str) -> None:
    parse_parameters({name: "7776000"})
    for value in ("7776001", "9" * 200, "9" * 5000):
        with pytest.raises(InvalidParameters, match=name):
            parse_parameters({name: value})


@settings(deadline=DEADLINE)
@given(TEXTS)
def test_any_additional_config_is_read_or_refused_by_its_key_at_once(written: str) -> None:
    for parse, key in ((parse_versioning, "bucketVersioning"), (parse_kubernetes_account, "kubernetesServiceAccount")):
        said = refusal(parse, {key: written}, InvalidConfig)
        assert len(said) < 500
        assert not said or f"additionalConfig.{key}" in said


@settings(deadline=DEADLINE)
@given(TEXTS)
def test_any_bucket_name_is_decided_at_once(written: str) -> None:
    is_bucket_name(written)
    is_bucket_name(written, dots=True)


@settings(deadline=DEADLINE)
@given(TEXTS)
def test_anything_in_the_place_of_a_key_file_is_decided_at_once(written: str) -> None:
    assert own_key(SecretStr(written), "a@b") is None
    with pytest.raises(InvalidAdminSecret, match=r"gcs/admin: (needs|key\.json)"):
        parse_admin({"key.json": SecretStr(written)}, named="gcs/admin")


@settings(deadline=DEADLINE)
@given(st.binary() | TEXTS.map(lambda text: text.encode(errors="replace")))
def test_any_answer_has_a_short_reason_or_none_at_once(content: bytes) -> None:
    assert len(reason_of(Reply(content))) <= 80
    assert len(constraint_of(Reply(content))) <= 121
    with suppress(ValueError):
        assert len(request_id_of({"X-GUploader-UploadID": content.decode()})) <= 300


@settings(deadline=DEADLINE)
@given(st.dictionaries(st.sampled_from(PARAMETERS), TEXTS, max_size=4))
def test_any_class_has_a_store_id(written: Mapping[str, str]) -> None:
    provisioner = GcsProvisioner(Services(read_secret=lambda *_: {}))
    assert hash(provisioner.store_id(written)) == hash(provisioner.store_id(dict(written)))


def test_classes_of_one_endpoint_and_project_share_a_store_id() -> None:
    store_id = GcsProvisioner(Services(read_secret=lambda *_: {})).store_id
    assert store_id({}) == store_id({"endpoint": "https://storage.googleapis.com/", "region": "EU"})
    assert store_id({"project": "one"}) == store_id({"project": "one", "credentials": "both"})
    assert store_id({"project": "one"}) != store_id({"project": "two"}), "rate limits are a project's"
    assert store_id({"secretName": "a", "secretNamespace": "n"}) != store_id(
        {"secretName": "b", "secretNamespace": "n"}
    )
    assert store_id({"endpoint": "https://one.example"}) != store_id({"endpoint": "https://two.example"})
