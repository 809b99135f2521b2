"""The runner, and that the README, CI and CONTRIBUTING say the same about it."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q --require-hashes -r requirements/nox.txt"
DEMO = f"{INSTALL} && .venv/bin/nox -s demo -- minio"
TESTS = f"{INSTALL} && .venv/bin/nox"
REQUIRED = ["lint", "types", "tests", "conformance", "integration", "examples", "chart", "build", "compatibility"]
REQUIRED += ["docs", "image", "e2e"]  # the last two skipped, with a sentence, where no images can be built
HELPERS = ["demo", "browser", "chaos", "clients", "stores", "soak", "bench", "coverage", "release", "lock", "dev"]
HELPERS += ["controlplane"]


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session as the noxfile declares it."""

    description: str
    is_default: bool


def declared_sessions() -> dict[str, Session]:
    """Reads the noxfile without running it, so that this needs no nox."""
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    found = {}
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
        declaration = next((each for each in decorators if each.startswith("nox.session")), None)
        if declaration is not None:
            is_default = "default=False" not in declaration
            found[function.name] = Session(description=ast.get_docstring(function) or "", is_default=is_default)
    return found


def commands_of(page: Path) -> list[str]:
    """The lines of a page's console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_all_documented_sessions_exist() -> None:
    assert sorted(declared_sessions()) == sorted(REQUIRED + HELPERS)


def test_plain_nox_runs_everything_that_has_to_pass_and_nothing_else() -> None:
    assert [name for name, session in declared_sessions().items() if session.is_default] == REQUIRED


@pytest.mark.parametrize("name", declared_sessions())
def test_every_session_says_in_one_line_what_it_does(name: str) -> None:
    description = declared_sessions()[name].description

    assert description.endswith(".")
    assert "\n" not in description


def test_the_readme_has_the_two_commands_on_one_line_each() -> None:
    commands = commands_of(ROOT / "README.md")

    assert DEMO in commands
    assert TESTS in commands


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = ROOT / ".ci/run"

    assert TESTS in script.read_text().splitlines()
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/operating.md", "docs/releasing.md", "docs/testing.md"]
)
def test_every_session_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"nox -s \"?([a-z][a-z0-9]*)", text))

    assert named - set(declared_sessions()) == set()


def test_the_pins_that_the_sessions_install_are_there() -> None:
    named = set(
        re.findall(r"(?:install|compile_requirements)\(session, \"([a-z]+)\"", (ROOT / "noxfile.py").read_text())
    )

    assert named
    assert [name for name in named if not (ROOT / "requirements" / f"{name}.txt").is_file()] == []
