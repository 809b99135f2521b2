"""The workflows: they call the sessions of noxfile.py, with no more permissions than each job needs.

actionlint and zizmor, in the session `lint`, check workflows in general; these rules are specific to this repository.
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
SESSION = r'\.venv/bin/nox -s "?(?P<session>[a-z]+)(\([^;&|`]*\)")?( -- [^;&|`]*)?'
AUDIT = r"\.venv/bin/pip-audit [^;&|`]*"
SCANNER = INSTALL.replace("nox.txt", "audit.txt")
PATCH = "git diff --output=upgrade.patch"
OPENS_A_PULL_REQUEST = r"if \[ ! -s upgrade/upgrade\.patch \].*gh auth setup-git.*"
SIGNS_OR_PUBLISHES = r"(cosign (sign|sign-blob|login)|gh release create) [^;&|`]*"
PUSHES_THE_IMAGE = r'name=.*\n *skopeo copy .*\n(.*\n)?(echo .* >> "\$GITHUB_OUTPUT"\n?)*'
REPORTS_COVERAGE = '.nox/coverage/bin/coverage report --format=markdown >> "$GITHUB_STEP_SUMMARY"'
COLLECTS_THE_IMAGE = 'mv ".nox/.cache/images/${GITHUB_REF_NAME%-v*}"/* dist/'
CHECKSUMS = "sha256sum -- * > SHA256SUMS"
MAY_RUN = [r"\.ci/run", SESSION, AUDIT, SIGNS_OR_PUBLISHES, PUSHES_THE_IMAGE, f"(?s:{OPENS_A_PULL_REQUEST})"]
MAY_RUN += [re.escape(command) for command in (INSTALL, SCANNER, PATCH)]
MAY_RUN += [re.escape(command) for command in (REPORTS_COVERAGE, COLLECTS_THE_IMAGE, CHECKSUMS)]
HOURS = "resilience"  # the one job that runs for hours, and only on schedule


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


def programs_of(script: str) -> set[str]:
    """The first words of a script's commands."""
    lines = [line.strip() for line in script.replace("\\\n", " ").splitlines()]
    words = [line.removeprefix("if ").removeprefix('[ "$(').split()[0] for line in lines]
    return set(words) - {"fi", "exit", "[", "echo", "cd"}


@pytest.mark.parametrize("name", jobs())
def test_a_job_runs_sessions_or_signs_and_publishes_and_nothing_else(name: str) -> None:
    assert [command for command in commands(jobs()[name]) if not may_run(command)] == []


@pytest.mark.parametrize("command", ["pytest", "make all", ".venv/bin/nox -s lint; rm -r /", "pip install twine"])
def test_other_commands_are_noticed(command: str) -> None:
    assert not may_run(command)


def test_every_session_that_a_job_runs_is_there() -> None:
    found = [re.fullmatch(SESSION, command) for job in jobs().values() for command in commands(job)]
    named = {match["session"] for match in found if match}

    assert named
    assert named - set(declared_sessions()) == set()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_permission_is_granted_to_all_jobs(path: Path) -> None:
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

    assert job["timeout-minutes"] <= (360 if name == f"thorough.{HOURS}" else 120)
    assert checkout is None or checkout["with"]["persist-credentials"] is False


def test_every_action_is_pinned_by_a_commit_and_says_which_version_that_is() -> None:
    lines = [line.strip() for path in WORKFLOWS for line in path.read_text().splitlines() if "uses:" in line]
    pinned = [re.fullmatch(r"(- )?uses: ([\w./-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+", line) for line in lines]

    assert [line for line, match in zip(lines, pinned, strict=True) if not match] == []
    commits = {(match[2], match[3]) for match in pinned if match}
    assert len(commits) == len({action for action, _ in commits})


def workflow(name: str) -> dict[Any, Any]:
    parsed: dict[Any, Any] = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())
    return parsed


def triggers(name: str) -> dict[str, Any]:
    found: dict[str, Any] = workflow(name)[True]  # YAML 1.1 reads the key `on` as a boolean
    return found


def test_pull_requests_run_the_quick_workflow_and_no_other() -> None:
    assert [path.stem for path in WORKFLOWS if "pull_request" in triggers(path.stem)] == ["quick"]
    assert all(job["timeout-minutes"] <= 15 for job in workflow("quick")["jobs"].values())


def test_quick_runs_lint_types_unit_tests_coverage_and_wheels() -> None:
    run = [command for job in workflow("quick")["jobs"].values() for command in commands(job)]

    assert {match["session"] for match in (re.fullmatch(SESSION, command) for command in run) if match} == {
        *("lint", "types", "tests", "coverage", "build")
    }


def test_unit_tests_run_on_every_python_that_the_readme_names() -> None:
    job = workflow("quick")["jobs"]["unit"]
    pythons = job["strategy"]["matrix"]["python"]
    lowest = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "libbucket/pyproject.toml").read_text())
    readme = (ROOT / "README.md").read_text()

    assert actions(job)["actions/setup-python"]["with"]["python-version"] == "${{ matrix.python }}"
    assert lowest is not None
    assert pythons == [f"3.{minor}" for minor in range(int(lowest[1].removeprefix("3.")), 15)]
    assert f"| Python | {pythons[0]} to {pythons[-1]} |" in readme
    assert f"python-{pythons[0]}_to_{pythons[-1]}-" in readme


def test_thorough_runs_everything_on_main_and_every_week() -> None:
    assert triggers("thorough")["push"] == {"branches": ["main"]}
    assert triggers("thorough")["schedule"]
    assert ".ci/run" in commands(workflow("thorough")["jobs"]["tests"])
    assert workflow("thorough")["jobs"][HOURS]["if"] == "${{ github.event_name == 'schedule' }}"


def test_thorough_runs_on_thekubernetes_versions_that_the_readme_names() -> None:
    job = workflow("thorough")["jobs"]["kubernetes"]
    modules = ROOT / "libbucket/src/libbucket/testing/controlplane", *ROOT.glob("tests/integration/kubernetes-*")
    versions = [re.search(r"k8s\.io/kubernetes v(1\.\d+)", (each / "go.mod").read_text()) for each in modules]
    newest, *others = [match[1] for match in versions if match]
    readme = (ROOT / "README.md").read_text()

    assert job["env"] == {"LIBBUCKET_KUBERNETES_MODULE": "tests/integration/kubernetes-${{ matrix.version }}"}
    assert job["strategy"]["matrix"]["version"] == others
    assert ".venv/bin/nox -s integration" in commands(job)
    assert f"| Kubernetes | tested with {', '.join(others)} and {newest}; " in readme


def test_the_update_changes_nothing_but_pins() -> None:
    (script,) = commands(workflow("update")["jobs"]["pull-request"])

    assert re.findall(r"--include='?([\w/.*]+)", script) == ["requirements/*.txt"]
    assert programs_of(script) == {"git", "gh"}


def test_nothing_is_published_that_has_not_passed_and_been_signed() -> None:
    release = {name.partition(".")[2]: job for name, job in jobs().items() if name.startswith("release.")}

    assert release["sign"]["needs"] == ["tests", "build"]
    assert {name: release[name]["needs"] for name in ("python", "image", "page")} == dict.fromkeys(
        ("python", "image", "page"), "sign"
    )
    assert commands(release["tests"]) == [".ci/run"]
