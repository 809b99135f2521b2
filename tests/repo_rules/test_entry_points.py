"""Every provisioner's command hands its provisioner, and the name that it serves by default, to the core."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any, Final

import pytest

from libbucket import Provisioner

COMMANDS: Final = {
    "aws-s3-provisioner": "aws-s3.io/bucket",
    "azure-provisioner": "azure-blob.io/bucket",
    "gcs-provisioner": "gcs.io/bucket",
    "minio-provisioner": "minio.io/bucket",
}


@pytest.mark.parametrize(("program", "provisioner_name"), COMMANDS.items())
def test_the_command_of(program: str, provisioner_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    main = import_module(f"{program.replace('-', '_')}.__main__")
    asked: list[Any] = []

    def run(factory: object, **names: str) -> int:
        asked.extend([factory, names])
        return 7

    monkeypatch.setattr(main, "run", run)
    assert main.main() == 7
    factory, names = asked
    assert issubclass(factory, Provisioner)
    assert names == {"program": program, "provisioner_name": provisioner_name, "version": version(program)}
