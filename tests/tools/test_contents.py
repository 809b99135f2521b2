"""What is left out of an image is what the rules say, and every rule has to say something."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from contents import ContentsError, Rule, leave_out, read_contents

ROOT = Path(__file__).parents[2]
CONTENTS = ROOT / "docker/contents.toml"


def tree(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_a_rule_names_is_left_out_and_nothing_else(tmp_path: Path) -> None:
    leave_out(tree(tmp_path, "a/b.py", "a/tests/c.py", "d.h"), [Rule(why="tests", paths=("*/tests", "*.h"))])

    assert left(tmp_path) == ["a/b.py"]


def test_what_a_rule_keeps_stays(tmp_path: Path) -> None:
    rule = Rule(why="services", paths=("data/*",), kept=("data/s3", "data/*.json"))
    leave_out(tree(tmp_path, "data/s3/x", "data/ec2/x", "data/endpoints.json"), [rule])

    assert left(tmp_path) == ["data/endpoints.json", "data/s3/x"]


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tree(tmp_path, "kept/x") / "link").symlink_to("kept")
    leave_out(tmp_path, [Rule(why="a link", paths=("link",))])

    assert left(tmp_path) == ["kept/x"]


@pytest.mark.parametrize("rule", [Rule(why="", paths=("gone",)), Rule(why="", paths=("here",), kept=("gone",))])
def test_a_rule_that_names_nothing_is_refused(rule: Rule, tmp_path: Path) -> None:
    with pytest.raises(ContentsError, match=re.escape("docker/contents.toml: 'gone' matches nothing that is there")):
        leave_out(tree(tmp_path, "here"), [rule])


def test_every_rule_of_ours_has_a_reason() -> None:
    contents = read_contents(CONTENTS)
    rules = [*contents.base, *(rule for rules in contents.wheels.values() for rule in rules)]

    assert [rule for rule in rules if not rule.why or not rule.paths] == []
    assert all(tomllib.loads(CONTENTS.read_text())["debian"]["packages"].values())


def test_the_rules_of_a_store_are_those_of_all_and_its_own() -> None:
    contents = read_contents(CONTENTS)

    assert set(contents.site_packages("minio")) == {*contents.wheels["every"], *contents.wheels["minio"]}
    assert contents.site_packages("another") == contents.wheels["every"]


def test_every_package_has_a_stage_that_starts_its_script() -> None:
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    for path in (ROOT / "packages").glob("*/pyproject.toml"):
        (script,) = tomllib.loads(path.read_text())["project"]["scripts"]

        assert f'FROM runtime AS {path.parent.name}\nENTRYPOINT ["/opt/libbucket/bin/{script}"]' in dockerfile
