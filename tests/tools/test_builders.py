"""Whichever builder is there is used; where none is, one sentence says so."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest

from builders import Build, Buildah, Docker, Podman, find_builder
from libbucket.testing.problems import SetupFailed


def program(folder: Path, name: str, exit_code: int = 0) -> None:
    """Notes how it was called."""
    path = folder / name
    path.write_text(
        f"#!{sys.executable}\nimport sys, pathlib\n"
        f"pathlib.Path({str(folder / 'called')!r}).write_text(chr(10).join(sys.argv[1:]))\n"
        f"print('what it said')\nsys.exit({exit_code})\n"
    )
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


A_BUILD = Build(
    context=Path("context"), target="minio", tag="t:1", epoch=86400, arguments={"BASE": "b"}, labels={"title": "x"}
)


@pytest.mark.parametrize("name", ["podman", "docker", "buildah"])
def test_the_one_that_is_there_is_used(name: str, programs: Path) -> None:
    program(programs, name)

    assert find_builder().name == name


def test_one_that_does_not_work_is_passed_over(programs: Path) -> None:
    program(programs, "docker", exit_code=1)  # as when its daemon does not run
    program(programs, "buildah")

    assert find_builder().name == "buildah"


def test_the_one_that_is_asked_for_is_used(programs: Path) -> None:
    program(programs, "podman")
    program(programs, "docker")

    assert find_builder("docker").name == "docker"


def test_without_any_one_sentence_says_what_to_install(programs: Path) -> None:
    assert not list(programs.iterdir())
    with pytest.raises(
        SetupFailed, match=r"docker, podman or buildah, and none that works is on the PATH: install one"
    ):
        find_builder()


@pytest.mark.parametrize("builder", [Podman(), Docker(), Buildah()], ids=lambda each: each.name)
def test_all_are_told_the_same_and_none_gets_a_network(builder: Podman, programs: Path) -> None:
    program(programs, builder.name)
    builder.build(A_BUILD)
    called = (programs / "called").read_text().splitlines()
    pairs = set(pairwise(called))

    assert {("--network", "none"), ("--target", "minio"), ("--tag", "t:1"), ("--label", "title=x")} <= pairs
    assert {("--build-arg", "BASE=b"), ("--build-arg", "SOURCE_DATE_EPOCH=86400")} <= pairs
    assert called[-1] == "context"


def test_a_build_that_fails_shows_what_was_said(programs: Path) -> None:
    program(programs, "podman", exit_code=1)
    with pytest.raises(SetupFailed, match=r"podman failed building t:1; its last lines:\n    what it said"):
        Podman().build(A_BUILD)
