"""All builders are told the same, each in its own words."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from stand_ins import calls, stand_in

from builders import Build, Buildah, Builder, Docker, Podman
from libbucket.testing.problems import SetupFailed

A_BUILD = Build(
    context=Path("context"), target="minio", tag="t:1", epoch=86400, arguments={"BASE": "b"}, labels={"title": "x"}
)


@pytest.mark.parametrize("builder", [Podman(), Docker(), Buildah()], ids=lambda each: each.name)
def test_all_are_told_the_same_and_none_gets_a_network(builder: Builder, programs: Path) -> None:
    stand_in(programs, builder.name)
    builder.build(A_BUILD)
    (called,) = calls(programs, builder.name)
    pairs = set(pairwise(called))

    assert {("--network", "none"), ("--target", "minio"), ("--tag", "t:1"), ("--label", "title=x")} <= pairs
    assert {("--build-arg", "BASE=b"), ("--build-arg", "SOURCE_DATE_EPOCH=86400")} <= pairs
    assert called[-1] == "context"


def test_a_build_that_fails_shows_what_was_said(programs: Path) -> None:
    stand_in(programs, "podman", fails_at=("build",))
    with pytest.raises(SetupFailed, match=r"podman failed building t:1; its last lines:\n    what it said"):
        Podman().build(A_BUILD)
