"""Sessions install as wheels the toolchains that the machine lacks, and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "tools/toolchains.py"
SERVERS = ("controlplane", "minio", "kubectl")


def missing(folder: Path, *programs: str, **environment: str) -> list[str]:
    command = [sys.executable, str(PROGRAM), *programs]
    environment["PATH"] = str(folder)
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()


def install(folder: Path, *programs: str, go: str = "") -> None:
    for name in programs:
        (folder / name).write_text(f"#!/bin/sh\necho {go}\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("installed", "go", "programs", "expected"),
    [
        ([], "", SERVERS, ["go", "kubectl"]),
        (["kubectl"], "", SERVERS, ["go", "kubectl"]),
        (["go", "kubectl", "helm"], "go1.26.8", SERVERS, []),
        (["go", "kubectl", "helm"], "go1.25.3", SERVERS, ["go"]),
        ([], "", ("go",), ["go"]),
        (["go"], "go2.0", ("go",), []),
    ],
)
def test_go_kubectl_and_helm_are_taken_from_the_machine_if_they_are_there(
    installed: list[str], go: str, programs: tuple[str, ...], expected: list[str], tmp_path: Path
) -> None:
    install(tmp_path, *installed, go=go)

    assert missing(tmp_path, *programs) == expected


def test_without_anything_to_build_go_is_not_needed(tmp_path: Path) -> None:
    install(tmp_path, "minio", "kubectl", "helm")

    assert missing(tmp_path, *SERVERS, KUBEBUILDER_ASSETS="/assets") == []
    assert missing(tmp_path, *SERVERS, "promtool", KUBEBUILDER_ASSETS="/assets") == ["go"]
