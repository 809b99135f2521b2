"""The workflows: they call the sessions that everybody runs, with no more rights than each job needs.

actionlint and zizmor, in the session `lint`, know what a workflow may look like; here is what ours may do.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .test_runner import INSTALL, declared_sessions

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
SESSION = r"\.venv/bin/nox -s (?P<session>[a-z]+)( -- [^;&|`]*)?"
SIGNS_OR_PUBLISHES = r"(cosign (sign|sign-blob|login)|gh release create) [^;&|`]*"
PUSHES_THE_IMAGE = r'name=.*\n *skopeo copy .*\n(.*\n)?(echo .* >> "\$GITHUB_OUTPUT"\n?)*'
# What a machine has to have, as docker/README.md says.
PROGRAMS = "sudo apt-get update -qq && sudo apt-get install -qq --yes mmdebstrap debian-archive-keyring"
MAY_RUN = [r"\.ci/run", re.escape(PROGRAMS), re.escape(INSTALL), SESSION, SIGNS_OR_PUBLISHES, PUSHES_THE_IMAGE]


def jobs() -> dict[str, dict[str, Any]]:
    """Every job, by the name of its workflow and its own."""
    parsed = {path.stem: yaml.safe_load(path.read_text()) for path in WORKFLOWS}
    return {f"{stem}.{name}": job for stem, workflow in parsed.items() for name, job in workflow["jobs"].items()}


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"].strip() for step in job["steps"] if "run" in step]


def actions(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["uses"].partition("@")[0]: step for step in job["steps"] if "uses" in step}


def may_run(command: str) -> bool:
    return any(re.fullmatch(pattern, command) for pattern in MAY_RUN)


@pytest.mark.parametrize("name", jobs())
def test_a_job_runs_sessions_or_signs_and_publishes_and_nothing_else(name: str) -> None:
    assert [command for command in commands(jobs()[name]) if not may_run(command)] == []


@pytest.mark.parametrize("command", ["pytest", "make all", ".venv/bin/nox -s lint; rm -r /", "pip install twine"])
def test_other_commands_are_noticed(command: str) -> None:
    assert not may_run(command)


@pytest.mark.parametrize("name", jobs())
def test_a_job_that_may_build_images_has_what_their_base_is_made_with(name: str) -> None:
    run = commands(jobs()[name])
    builds = [number for number, command in enumerate(run) if command == ".ci/run" or re.fullmatch(SESSION, command)]

    assert all(PROGRAMS in run[:number] for number in builds)


def test_every_session_that_a_job_runs_is_there() -> None:
    found = [re.fullmatch(SESSION, command) for job in jobs().values() for command in commands(job)]
    named = {match["session"] for match in found if match}

    assert named
    assert named - set(declared_sessions()) == set()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_right_is_given_to_all_jobs_at_once(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {}


@pytest.mark.parametrize("name", jobs())
def test_a_job_that_may_write_runs_no_code_of_this_repository(name: str) -> None:
    job = jobs()[name]
    if "write" in job["permissions"].values():
        assert "actions/checkout" not in actions(job)
        assert [command for command in commands(job) if re.match(r"\.(venv|ci)/", command)] == []


@pytest.mark.parametrize("name", jobs())
def test_a_job_ends_by_itself_and_leaves_no_credentials_in_the_checkout(name: str) -> None:
    job = jobs()[name]
    checkout = actions(job).get("actions/checkout")

    assert job["timeout-minutes"] <= 120
    assert checkout is None or checkout["with"]["persist-credentials"] is False


def test_every_action_is_pinned_by_a_commit_and_says_which_version_that_is() -> None:
    lines = [line.strip() for path in WORKFLOWS for line in path.read_text().splitlines() if "uses:" in line]
    pinned = [re.fullmatch(r"(- )?uses: ([\w./-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+", line) for line in lines]

    assert [line for line, match in zip(lines, pinned, strict=True) if not match] == []
    commits = {(match[2], match[3]) for match in pinned if match}
    assert len(commits) == len({action for action, _ in commits})


def test_nothing_is_published_that_has_not_passed_and_been_signed() -> None:
    release = {name.partition(".")[2]: job for name, job in jobs().items() if name.startswith("release.")}

    assert release["sign"]["needs"] == ["tests", "build"]
    assert {name: release[name]["needs"] for name in ("python", "image", "page")} == dict.fromkeys(
        ("python", "image", "page"), "sign"
    )
    assert commands(release["tests"]) == [PROGRAMS, ".ci/run"]
