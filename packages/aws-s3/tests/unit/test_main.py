"""The command: what it hands to the core."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from aws_s3_provisioner import __main__
from aws_s3_provisioner.provisioner import AwsS3Provisioner

if TYPE_CHECKING:
    import pytest


def test_the_command_hands_the_provisioner_and_its_name_to_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(factory: object, **names: str) -> int:
        asked.extend([factory, names])
        return 7

    monkeypatch.setattr(__main__, "run", run)
    assert __main__.main() == 7
    names = {"program": "aws-s3-provisioner", "provisioner_name": "aws-s3.io/bucket"}
    assert asked == [AwsS3Provisioner, {**names, "version": version("aws-s3-provisioner")}]
