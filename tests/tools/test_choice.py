"""Whichever builder works here is used; where none does, one sentence says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from stand_ins import calls, stand_in

import choice
from builders import Podman
from choice import find_builder
from libbucket.testing.problems import SetupFailed
from why_not import why_not

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["podman", "docker", "buildah"])
def test_the_one_that_is_there_is_used(name: str, programs: Path) -> None:
    stand_in(programs, name)

    assert find_builder().name == name


def test_one_that_may_not_build_is_passed_over(programs: Path) -> None:
    stand_in(programs, "podman", fails_at=("build",))  # as where it may make no namespaces
    stand_in(programs, "buildah")

    assert find_builder().name == "buildah"


def test_one_that_builds_and_can_t_run_is_passed_over_when_images_have_to_run(programs: Path) -> None:
    stand_in(programs, "podman", fails_at=("run",))
    stand_in(programs, "docker")

    assert find_builder().name == "podman"
    assert find_builder(to_run=True).name == "docker"


def test_buildah_alone_is_not_asked_to_run_anything(programs: Path) -> None:
    stand_in(programs, "buildah")
    with pytest.raises(SetupFailed, match=r"images are run with podman or docker, and none is on the PATH"):
        find_builder(to_run=True)
    assert calls(programs, "buildah") == []


def test_the_one_that_is_asked_for_is_used(programs: Path) -> None:
    stand_in(programs, "podman")
    stand_in(programs, "docker")

    assert find_builder("docker").name == "docker"


def test_without_any_one_sentence_says_what_to_install(programs: Path) -> None:
    assert not list(programs.iterdir())
    with pytest.raises(
        SetupFailed,
        match=r"^images are built with docker, podman or buildah, and none is on the PATH: install one \(.*$",
    ):
        find_builder()


def test_where_none_works_the_sentence_has_what_each_said(programs: Path) -> None:
    for name in ("podman", "docker"):
        stand_in(programs, name, fails_at=("build",))
    with pytest.raises(SetupFailed, match=r"works \(podman: Error: it may not; docker: Error: it may not\): install"):
        find_builder()


def test_what_is_tried_is_gone_afterwards_whether_it_worked_or_not(programs: Path) -> None:
    for fails_at in ((), ("build",)):
        stand_in(programs, "podman", fails_at=fails_at)
        choice.what_hinders(Podman())
        last = calls(programs, "podman")[-1]
        assert last[-3:-1] == ["rmi", "--force"]
        assert last[-1].startswith("localhost/libbucket-trial:")


@pytest.mark.skipif(sys.platform != "linux", reason="images are of Linux, and so is the program")
def test_the_program_that_is_tried_does_nothing_and_ends_well(tmp_path: Path) -> None:
    choice._write_context(tmp_path)

    assert subprocess.run([tmp_path / "trial"], check=False).returncode == 0


@pytest.mark.usefixtures("programs")
def test_the_sessions_are_told_why_not() -> None:
    assert why_not(to_run=False).startswith("images are built with docker, podman or buildah, and none is on the PATH")
    assert why_not(to_run=True).startswith("images are run with podman or docker, and none is on the PATH")


def test_where_there_is_a_builder_and_no_base_they_are_told_that(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    stand_in(programs, "podman")

    assert why_not(to_run=True).startswith("the default base is made with mmdebstrap, which is not on the PATH")


def test_the_program_that_tells_them_prints_the_sentence_and_does_not_fail(programs: Path) -> None:
    command = [sys.executable, str(ROOT / "tools/images/why_not.py"), "run"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={"PATH": str(programs)})

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("images are run with podman or docker")
    assert done.stdout.count("\n") == 1
