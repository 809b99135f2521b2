"""The script that asks a real AWS account, run on AWS in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import verify_on_aws
from testkit.aws_s3.in_memory import InMemoryAws, in_memory_aws
from testkit.aws_s3.regional_s3 import OWN
from verify_on_aws import CHECKS, Account, run

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryAws]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAADMIN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    with in_memory_aws() as running:
        yield running


def test_it_refuses_to_run_without_an_account(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        verify_on_aws.main([])
    assert "--account" in capsys.readouterr().err


def test_it_does_nothing_in_another_account(aws: InMemoryAws, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_on_aws.main(["--account", "999999999999"]) == 2
    assert "nothing was done" in capsys.readouterr().err
    assert (aws.s3.requests, aws.iam.actions) == ([], ["GetCallerIdentity"])


def test_it_asks_everything_and_leaves_nothing(aws: InMemoryAws) -> None:
    told: list[str] = []
    account = Account(
        number=OWN, region="eu-central-1", closed_region="", repeats=2, patience=5.0, sleep=lambda _seconds: None
    )
    run(account, told.append)
    assert len(told) == len(CHECKS), told
    # AWS in memory has no objects.
    differ = [line for line in told if not line.startswith("ok")]
    assert all("Object" in line for line in differ), differ
    assert (aws.s3.buckets, aws.iam.users) == ({}, {})
    assert all(key.is_session for key in aws.iam.keys.values()), "those end by themselves"
