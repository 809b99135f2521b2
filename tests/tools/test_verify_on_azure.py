"""The script that asks a real storage account, run on Blob Storage in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AccessToken

import verify_on_azure
from testkit.azure.fake_storage import FakeStorage
from testkit.azure.in_memory_backend import as_request
from testkit.resilience.proxy import Instead, Request
from testkit.resilience.wire import Wire, wired
from verify_on_azure import CHECKS, Account, run

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "https://accountofthetests.blob.core.windows.net"


class InMemory:
    """An account, its clock, and how many requests it got."""

    def __init__(self) -> None:
        self.now, self.requests = datetime(2026, 11, 1, tzinfo=UTC), 0
        self.storage = FakeStorage(clock=lambda: self.now)
        self.storage.tokens["token"] = self.now + timedelta(days=1)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def answered(self, request: Request) -> Instead:
        self.requests += 1
        asked = as_request(self.storage.account, request.method, request.target, request.headers, request.body)
        status, headers, body = self.storage.answer(asked)
        return Instead(status=status, headers=headers, body=body)

    def seconds(self) -> float:
        return self.now.timestamp()

    def account(self, identity: Any = None) -> Account:
        return Account(
            name=self.storage.account,
            url=URL,
            key=self.storage.keys[0],
            identity=identity,
            patience=3.0,
            sleep=self.pass_time,
            seconds=self.seconds,
            now=lambda: self.now,
        )

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken("token", 4_000_000_000)


@pytest.fixture
def azure() -> Iterator[InMemory]:
    made = InMemory()
    with wired(Wire(made.answered, made.pass_time), ".blob.core.windows.net"):
        yield made


def test_it_refuses_to_run_without_an_account(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        verify_on_azure.main([])
    assert "--account" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "AccountName=another;AccountKey=a2V5", "AccountName=wanted;SharedAccessSignature=x"]
)
def test_it_does_nothing_in_another_account(
    azure: InMemory, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    assert verify_on_azure.main(["--account", "wanted"]) == 2
    assert "nothing was done" in capsys.readouterr().err
    assert azure.requests == 0


def test_it_asks_everything_and_leaves_nothing(azure: InMemory) -> None:
    told: list[str] = []
    assert run(azure.account(identity=azure), told.append), told
    assert len(told) == len(CHECKS), told
    assert azure.storage.containers == {}


def test_an_answer_that_differs_is_told(azure: InMemory) -> None:
    azure.storage.keeps_versions = azure.storage.is_hierarchical = True
    told: list[str] = []
    assert not run(azure.account(), told.append)
    differ = [line for line in told if line.startswith("DIFF")]
    assert any("versions kept: True" in line for line in differ), told
    assert any("hierarchical: True" in line for line in differ), told
    assert any(line.startswith("LEFT container libbucket-verify-") for line in told), "no container can be deleted"
