"""The command line says in one sentence what can't be done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from context import read_provisioner, stores
from images import labels
from libbucket.testing.problems import SetupFailed

PROGRAM = Path(__file__).parents[2] / "tools/images/images.py"


def test_every_package_has_an_image() -> None:
    assert [read_provisioner(name).tag.partition(":")[0] for name in stores()] == [
        "localhost/aws-s3-provisioner",
        "localhost/azure-provisioner",
        "localhost/gcs-provisioner",
        "localhost/minio-provisioner",
    ]


def test_an_unknown_store_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SetupFailed, match=r"there is no provisioner 'ceph': only aws-s3, azure, gcs, minio"):
        read_provisioner("ceph")


def test_labels_say_what_is_known_and_nothing_else() -> None:
    found = labels(read_provisioner("minio"))

    assert found["org.opencontainers.image.title"] == "minio-provisioner"
    assert found["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert all(found.values())
    assert "org.opencontainers.image.source" not in found


def test_without_a_builder_it_ends_with_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "minio"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": str(tmp_path)},
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("images are built with docker, podman or buildah, and none that works is on the PATH")
