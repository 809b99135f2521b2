"""The command: what it hands to the core."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from gcs_provisioner import __main__
from gcs_provisioner.provisioner import GcsProvisioner

if TYPE_CHECKING:
    import pytest


def test_the_command_hands_the_provisioner_and_its_name_to_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(factory: object, **names: str) -> int:
        asked.extend([factory, names])
        return 7

    monkeypatch.setattr(__main__, "run", run)
    assert __main__.main() == 7
    names = {"program": "gcs-provisioner", "provisioner_name": "gcs.io/bucket"}
    assert asked == [GcsProvisioner, {**names, "version": version("gcs-provisioner")}]
