"""Fixtures of all tests of this package; makes the helpers in support importable.

All in one file: the folder's name has a hyphen, so mypy would take a second conftest.py for the same module. A
server is started by the first test that asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.conformance.environment import Environment
from testkit.aws_s3.backend import AwsBackend
from testkit.aws_s3.emulators import ministack, moto

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testkit.aws_s3.emulators import AwsServer

OF_THE_MACHINE = ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE")


@pytest.fixture(scope="session")
def server() -> Iterator[AwsServer]:
    with ministack() as running:
        yield running


@pytest.fixture(scope="session")
def lenient_server() -> Iterator[AwsServer]:
    """Knows IAM's limits, checks no permission, and takes no tags when a bucket is made."""
    with moto() as running:
        yield running


@pytest.fixture(scope="session")
def backend(server: AwsServer) -> AwsBackend:
    return AwsBackend(server)


@pytest.fixture
def environment(backend: AwsBackend) -> Iterator[Environment]:
    """Claims and buckets of one test."""
    environment = Environment(backend)
    yield environment
    environment.clean_up()


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials and no settings but a test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in OF_THE_MACHINE:
        monkeypatch.delenv(name, raising=False)
