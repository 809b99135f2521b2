"""The script that asks a real Google Cloud project, run on the fake with Google's delays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from google.auth import credentials as auth

import verify_on_google
from testkit.gcs.applications import OfflineCredentials
from testkit.gcs.fake import FakeGcs, fake_gcs
from verify_on_google import CHECKS, Project, run

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fake() -> Iterator[FakeGcs]:
    with fake_gcs() as running:
        yield running


def a_project(fake: FakeGcs, **more: Any) -> Project:
    key = json.loads(fake.add_admin("caller"))
    fake.add_foreign_bucket("my-bucket")
    settings = {
        "id": fake.project,
        "credentials": OfflineCredentials.from_service_account_info(key, scopes=["any"]),  # type: ignore[no-untyped-call]
        "location": "europe-west3",
        "foreign_bucket": "my-bucket",
        "repeats": 3,
        "patience": 600.0,
        "storage": fake.url,
        "iam": fake.url,
        "token_uri": fake.token_uri,
        "sleep": fake.clock.turn,
        "clock": lambda: fake.clock.now().timestamp(),
    }
    return Project(**{**settings, **more})


def test_it_refuses_to_run_without_a_project(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        verify_on_google.main([])
    assert "--project" in capsys.readouterr().err


def test_it_does_nothing_in_another_project(
    fake: FakeGcs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = auth.AnonymousCredentials(), fake.project
    monkeypatch.setattr("google.auth.default", lambda **_: found)
    assert verify_on_google.main(["--project", "another-project"]) == 2
    assert "nothing was done" in capsys.readouterr().err
    assert fake.calls() == []


def test_it_asks_everything_and_leaves_nothing(fake: FakeGcs) -> None:
    project = a_project(fake)
    fake.knobs.turn_on()
    fake.clock.turn(60)
    told: list[str] = []
    run(project, told.append)
    assert len(told) == len(CHECKS), told
    # No page says whether Google takes a policy without bindings: the fake has the stricter reading.
    differ = [line for line in told if not line.startswith("ok")]
    assert [line.split("  ")[0] for line in differ] == ["DIFF policy without any binding"], differ
    assert list(fake.store.buckets) == ["my-bucket"]
    assert [each for each in fake.store.accounts if "verify" in each] == []


def test_what_is_left_is_told(fake: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(verify_on_google, "CHECKS", CHECKS[6:9])
    project = a_project(fake, patience=0.0)
    fake.allow("caller", {"storage.buckets.create", "storage.buckets.get"})
    assert not run(project, told.append)
    assert [line.partition(" obc")[0] for line in told if line.startswith("LEFT")] == ["LEFT bucket"]
