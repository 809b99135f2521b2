"""The command line says in one sentence what can't be done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from stand_ins import calls, stand_in

from builders import Build, Podman
from context import read_provisioner, stores
from images import build_once, labels
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
    assert done.stderr.startswith("images are built with docker, podman or buildah, and none is on the PATH")


def a_build(context: Path, **labels: str) -> Build:
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text("FROM scratch\n")
    return Build(context=context, target="minio", tag="t:1", epoch=0, labels=labels)


def builds(programs: Path) -> int:
    return sum("build" in call for call in calls(programs, "podman"))


def test_an_image_that_is_there_is_not_built_again_of_the_same(programs: Path, tmp_path: Path) -> None:
    stand_in(programs, "podman", images="sha256:one")
    build, note = a_build(tmp_path / "context"), tmp_path / "note"

    assert [build_once(Podman(), build, note) for _ in range(2)] == [True, False]
    assert builds(programs) == 1


def test_an_image_is_built_again_when_anything_that_it_follows_from_is_another(programs: Path, tmp_path: Path) -> None:
    stand_in(programs, "podman", images="sha256:one")
    note = tmp_path / "note"
    build_once(Podman(), a_build(tmp_path / "context"), note)

    assert build_once(Podman(), a_build(tmp_path / "context", version="2"), note)
    (tmp_path / "context/more").touch()
    assert build_once(Podman(), a_build(tmp_path / "context", version="2"), note)
    assert build_once(Podman(), a_build(tmp_path / "context", version="2"), note, "its-base")
    assert builds(programs) == 4


def test_an_image_that_somebody_removed_or_replaced_is_built_again(programs: Path, tmp_path: Path) -> None:
    build, note = a_build(tmp_path / "context"), tmp_path / "note"
    for images in ("sha256:one", "", "sha256:two"):
        stand_in(programs, "podman", images=images)
        assert build_once(Podman(), build, note)
