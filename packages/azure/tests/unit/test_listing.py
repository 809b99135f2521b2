"""The account's containers with ownership tags, for `--list-orphans`: in pages, with no request for each. In memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from azure_provisioner.client import Network
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import AccessDenied, SecretStr, Services, StoreRefused
from libbucket.testing import builders
from testkit.azure.fake_storage import FakeStorage
from testkit.azure.fake_storage.model import Container
from testkit.azure.in_memory_backend import as_request
from testkit.resilience.proxy import Instead, Request
from testkit.resilience.wire import Wire, wired

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNED = builders.options().owner.ownership_tags()
NOW = datetime(2026, 11, 1, tzinfo=UTC)


class World:
    """An account, and a provisioner with its key."""

    def __init__(self) -> None:
        self.storage = FakeStorage(clock=lambda: NOW)
        self.asked: list[str] = []
        secret = {"AZURE_STORAGE_KEY": SecretStr(self.storage.keys[0])}
        self.provisioner = AzureProvisioner(Services(read_secret=lambda *_: secret, now=lambda: NOW), Network())

    def answered(self, request: Request) -> Instead:
        self.asked.append(request.target)
        given = as_request(self.storage.account, request.method, request.target, request.headers, request.body)
        status, headers, body = self.storage.answer(given)
        return Instead(status=status, headers=headers, body=body)

    def listed(self) -> dict[str, object]:
        given = {"storageAccount": self.storage.account, "secretName": "admin", "secretNamespace": "azure"}
        return dict(self.provisioner.list_buckets(given))


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    for name in ("logs", "music", "photos"):
        made.storage.containers[name] = Container(metadata={**OWNED, "team": name}, modified=NOW)
    made.storage.containers["untagged"] = Container(metadata={}, modified=NOW)
    made.storage.containers["of-others"] = Container(metadata={"team": "shop"}, modified=NOW)
    with wired(Wire(made.answered, lambda _seconds: None), ".blob.core.windows.net"):
        yield made


def test_containers_with_ownership_tags_are_listed_by_one_request(world: World) -> None:
    assert world.listed() == {name: {**OWNED, "team": name} for name in ("logs", "music", "photos")}
    assert len(world.asked) == 1


def test_all_pages_are_read(world: World) -> None:
    world.storage.containers_per_page = 2
    assert set(world.listed()) == {"logs", "music", "photos"}
    assert len(world.asked) == 3


def test_a_list_without_end_is_cut_off_and_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.storage.containers_per_page = 1
    monkeypatch.setattr("azure_provisioner.listing._PAGES", 2)
    with pytest.raises(StoreRefused, match="lists more than 2 pages of containers"):
        world.listed()


def test_a_refused_list_is_not_an_empty_one(world: World) -> None:
    world.storage.is_walled = True
    with pytest.raises(AccessDenied):
        world.listed()
    world.storage.is_walled = False
    assert world.listed()
