"""The SDK's clients are kept within the memory of a container."""

from __future__ import annotations

import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from minio import crypto

from libbucket import SecretStr
from libbucket.testing.certificates import Authority
from minio_provisioner.client import connect, derive_one_key_at_a_time
from minio_provisioner.parameters import Admin, parse_parameters


class Derivation:
    """Replaces the one that takes 64 MiB; counts how many are under way at once."""

    def __init__(self) -> None:
        self.under_way = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, **_: object) -> bytes:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        threading.Event().wait(0.02)  # the others' chance to come in between
        with self._lock:
            self.under_way -= 1
        return bytes(32)


def encrypt_from_eight_threads() -> set[bytes]:
    with ThreadPoolExecutor(8) as workers:
        return set(workers.map(lambda _: crypto.encrypt(b"what is sent", "password"), range(16)))


def test_keys_of_many_workers_are_derived_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    derivation = Derivation()
    monkeypatch.setattr(crypto, "hash_secret_raw", derivation)
    derive_one_key_at_a_time()

    assert len(encrypt_from_eight_threads()) == 16
    assert derivation.most == 1


def test_the_sdk_by_itself_derives_them_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    derivation = Derivation()
    monkeypatch.setattr(crypto, "hash_secret_raw", derivation)
    encrypt_from_eight_threads()

    assert derivation.most > 1


@pytest.mark.parametrize("ca_bundle", ["", Authority().certificate_pem.decode()], ids=["machine's", "given"])
def test_only_given_authorities_are_trusted_without_the_extensions_that_python_wants(
    monkeypatch: pytest.MonkeyPatch, ca_bundle: str
) -> None:
    usual = ssl.create_default_context

    def as_in_3_13(**given: Any) -> ssl.SSLContext:
        context = usual(**given)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_in_3_13)
    parameters = parse_parameters(
        {"endpoint": "https://minio", "caBundle": ca_bundle, "secretName": "admin", "secretNamespace": "minio"}
    )
    admin = Admin(access_key="key", secret_key=SecretStr("secret"))
    with connect(parameters, admin, fence=lambda: None, read_seconds=1) as clients:
        context = clients.pool.connection_pool_kw["ssl_context"]
    assert bool(context.verify_flags & ssl.VERIFY_X509_STRICT) is not bool(ca_bundle)


def test_it_is_arranged_once_however_often_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto, "hash_secret_raw", Derivation())
    derive_one_key_at_a_time()
    first = vars(crypto)["hash_secret_raw"]
    derive_one_key_at_a_time()

    assert vars(crypto)["hash_secret_raw"] is first
