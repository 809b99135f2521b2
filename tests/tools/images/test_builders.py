"""The builder is whichever works; all builders get the same arguments, each in its own spelling."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from images.builders import Builder, find_builder
from libbucket.testing.problems import SetupFailed

if TYPE_CHECKING:
    from .conftest import Programs

NAMES = ["podman", "docker", "buildah"]
A_BUILD = ("t:1", 86400, "--build-arg=STORE=minio", "context")


@pytest.mark.parametrize("name", NAMES)
def test_installed_builder_is_found(name: str, programs: Programs) -> None:
    programs.install(name)

    assert find_builder().name == name


def test_builder_without_its_daemon_is_passed_over(programs: Programs) -> None:
    programs.install("podman", fails_at=("info",))
    programs.install("buildah")

    assert find_builder().name == "buildah"


def test_buildah_is_not_used_to_run_images(programs: Programs) -> None:
    programs.install("buildah")
    with pytest.raises(SetupFailed, match=r"^images are run with podman or docker, and none is installed$"):
        find_builder(to_run=True)
    assert programs.calls("buildah") == []


@pytest.mark.usefixtures("programs")
def test_missing_builder_is_refused_with_one_sentence() -> None:
    with pytest.raises(
        SetupFailed, match=r"^images are built with podman or docker or buildah, and none is installed$"
    ):
        find_builder()


def test_refusal_names_the_problem_of_each_builder(programs: Programs) -> None:
    for name in ("podman", "docker"):
        programs.install(name, fails_at=("info",))
    with pytest.raises(SetupFailed, match=r"works \(podman: it is not allowed; docker: it is not allowed\)$"):
        find_builder()


@pytest.mark.parametrize("name", NAMES)
def test_builders_get_the_same_arguments(name: str, programs: Programs) -> None:
    programs.install(name)
    Builder(name).build(*A_BUILD)
    (call,) = programs.calls(name)

    assert {("--tag", "t:1"), ("--build-arg", "SOURCE_DATE_EPOCH=86400")} <= set(pairwise(call))
    assert call[-2:] == ["--build-arg=STORE=minio", "context"]


@pytest.mark.parametrize("name", ["podman", "buildah"])
def test_layers_of_earlier_builds_are_not_used(name: str, programs: Programs) -> None:
    programs.install(name)
    Builder(name).build(*A_BUILD)

    assert "--layers=false" in programs.calls(name)[0]


def test_failed_build_points_to_the_log(programs: Programs, capfd: pytest.CaptureFixture[str]) -> None:
    programs.install("podman", fails_at=("build",))
    with pytest.raises(SetupFailed, match=r"^podman could not build t:1; its log above has the reason$"):
        Builder("podman").build(*A_BUILD)
    assert "some detail" in capfd.readouterr().err
