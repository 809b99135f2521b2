"""The provisioner in memory, beyond the conformance suite: hook, counters, quota, Secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket import (
    AccessKeys,
    AdminSecretMissing,
    BucketOptions,
    InvalidAdminSecret,
    InvalidClaim,
    InvalidConfig,
    InvalidParameters,
    ObjectBucket,
    SecretStr,
    Services,
    StoreUnavailable,
)
from libbucket.testing import builders
from libbucket.testing.application import Refused
from libbucket.testing.memory import ADMIN_KEY, MemoryProvisioner, Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket.testing.memory_store import MemoryClient


def services(secrets: Mapping[str, Mapping[str, str]]) -> Services:
    def read_secret(namespace: str, name: str) -> Mapping[str, SecretStr]:
        if f"{namespace}/{name}" not in secrets:
            raise AdminSecretMissing(f"Secret {namespace}/{name} does not exist")
        return {key: SecretStr(value) for key, value in secrets[f"{namespace}/{name}"].items()}

    return Services(read_secret=read_secret)


def keys_of(answer: ObjectBucket) -> AccessKeys:
    assert answer.connection.authentication is not None
    assert answer.connection.authentication.access_keys is not None
    return answer.connection.authentication.access_keys


def client_of(provisioner: MemoryProvisioner, answer: ObjectBucket) -> MemoryClient:
    return provisioner.store.client(keys_of(answer))


def test_every_call_is_counted_by_its_verb_even_if_it_fails() -> None:
    provisioner = MemoryProvisioner()
    request = builders.options()
    answer = provisioner.provision(request)
    with pytest.raises(InvalidClaim):
        provisioner.provision(builders.options(bucket_name="No"))
    provisioner.grant(builders.options(bucket_name=answer.bucket_name))
    provisioner.revoke(builders.recorded(answer, request))
    provisioner.delete(builders.recorded(answer, request))
    assert provisioner.calls == {"provision": 2, "grant": 1, "revoke": 1, "delete": 1}


def test_a_hook_sees_the_call_and_can_fail_it_before_anything_happens() -> None:
    seen: list[tuple[Verb, str]] = []

    def fail_once(verb: Verb, request: BucketOptions | ObjectBucket) -> None:
        seen.append((verb, request.bucket_name))
        if len(seen) == 1:
            raise StoreUnavailable("not now")

    provisioner = MemoryProvisioner(hook=fail_once)
    request = builders.options(bucket_name="photos-1")
    with pytest.raises(StoreUnavailable):
        provisioner.provision(request)
    assert not provisioner.store.buckets
    provisioner.provision(request)
    assert seen == [("provision", "photos-1")] * 2
    assert "photos-1" in provisioner.store.buckets


def test_a_quota_holds_and_overwriting_is_no_new_object() -> None:
    provisioner = MemoryProvisioner()
    answer = provisioner.provision(builders.options(config={"maxObjects": "1"}))
    client = client_of(provisioner, answer)
    client.put(answer.bucket_name, "first", b"1")
    client.put(answer.bucket_name, "first", b"2")
    with pytest.raises(Refused, match="1 objects"):
        client.put(answer.bucket_name, "second", b"3")
    assert client.get(answer.bucket_name, "first") == b"2"


def test_a_quota_that_is_no_number_leaves_no_bucket() -> None:
    provisioner = MemoryProvisioner()
    with pytest.raises(InvalidConfig, match="maxObjects"):
        provisioner.provision(builders.options(config={"maxObjects": "many"}))
    assert not provisioner.store.buckets


def test_a_second_provisioner_on_the_same_store_plays_a_restart() -> None:
    first = MemoryProvisioner()
    request = builders.options()
    answer = first.provision(request)
    second = MemoryProvisioner(store=first.store)
    assert second.provision(builders.again(request, answer)).connection == answer.connection
    assert second.calls == {"provision": 1}


def test_a_wrong_secret_of_a_known_key_is_refused() -> None:
    provisioner = MemoryProvisioner()
    answer = provisioner.provision(builders.options())
    wrong = AccessKeys(access_key_id=keys_of(answer).access_key_id, secret_access_key=SecretStr("wrong"))
    with pytest.raises(Refused):
        provisioner.store.client(wrong).list_keys(answer.bucket_name)
    assert client_of(provisioner, answer).list_keys(answer.bucket_name) == []


def test_the_administrators_secret_is_read_where_the_class_names_one() -> None:
    provisioner = MemoryProvisioner(services({"ops/good": {ADMIN_KEY: "x"}, "ops/empty": {}}))

    def a_request(name: str) -> BucketOptions:
        return builders.options(parameters={"secretName": name, "secretNamespace": "ops"})

    with pytest.raises(AdminSecretMissing):
        provisioner.provision(a_request("absent"))
    with pytest.raises(InvalidAdminSecret, match=f"ops/empty has no key {ADMIN_KEY}"):
        provisioner.provision(a_request("empty"))
    assert not provisioner.store.buckets
    assert provisioner.provision(a_request("good")).bucket_name in provisioner.store.buckets


def test_all_mistakes_of_a_class_are_reported_at_once() -> None:
    with pytest.raises(InvalidParameters) as raised:
        MemoryProvisioner().provision(builders.options(parameters={"versioning": "x", "secretName": "a"}))
    assert [mistake.split()[0] for mistake in raised.value.mistakes] == ["versioning", "secretNamespace"]
