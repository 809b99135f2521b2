"""Kubeconfigs say what was meant, for one context, and can be read by their owner only."""

from __future__ import annotations

import base64
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from libbucket.testing.certificates import Authority
from libbucket.testing.kubeconfigs import User, cluster_of, cut_out, write_kubeconfig
from libbucket.testing.problems import SetupFailed

if TYPE_CHECKING:
    from pathlib import Path


def somebodys(path: Path) -> Path:
    content: dict[str, Any] = {
        "current-context": "production",
        "clusters": [
            {"name": "a", "cluster": {"server": "https://a.test", "certificate-authority": "pki/ca.crt"}},
            {"name": "b", "cluster": {"server": "https://b.test", "certificate-authority-data": "Yi1jYQ=="}},
        ],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [
            {"name": "production", "context": {"cluster": "a", "user": "me"}},
            {"name": "lab", "context": {"cluster": "b", "user": "me"}},
        ],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_only_the_named_context_is_cut_out_never_the_current_one(tmp_path: Path) -> None:
    target = cut_out(somebodys(tmp_path / "config"), "lab", tmp_path / "cut")

    assert cluster_of(target) == ("https://b.test", b"b-ca")
    assert "a.test" not in target.read_text()


def test_files_that_are_named_relative_to_the_source_are_still_found(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_bytes(b"a-ca")
    (tmp_path / "elsewhere").mkdir()

    target = cut_out(somebodys(tmp_path / "config"), "production", tmp_path / "elsewhere" / "cut")

    assert cluster_of(target) == ("https://a.test", b"a-ca")


def test_a_context_that_is_missing_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="has no context 'prod'; it has: lab, production"):
        cut_out(somebodys(tmp_path / "config"), "prod", tmp_path / "cut")


def test_a_file_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="can't be read as a kubeconfig"):
        cut_out(tmp_path / "none", "lab", tmp_path / "cut")


def test_no_other_user_can_read_what_was_written(tmp_path: Path) -> None:
    certificate, key = Authority().client("admin", ["masters"])
    write_kubeconfig(tmp_path / "k", url="https://x.test", ca=b"ca", user=User(certificate=certificate, key=key))

    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


def test_no_key_is_held_as_data_which_the_client_would_copy_into_a_temporary_file(tmp_path: Path) -> None:
    user = User(certificate=b"certificate", key=b"key")
    path = write_kubeconfig(tmp_path / "k", url="https://x.test", ca=b"ca", user=user)

    assert "-data" not in path.read_text()
    assert base64.b64encode(b"key").decode() not in path.read_text()


def test_an_authority_is_accepted_by_the_strictest_checks(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.server()
    (tmp_path / "both.pem").write_bytes(certificate + key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "both.pem")
    client = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT

    assert _handshake(client, server)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(ssl.create_default_context(cadata=Authority().certificate_pem.decode()), server)


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> bool:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    there = server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (here, there):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    return len(done) == 2
