"""The pages: links lead somewhere, and what must be explained is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from libbucket import Reason

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [
    *("writing-a-provisioner.md", "deploying.md", "operating.md", "reliability.md", "stores.md"),
    *("testing.md", "releasing.md", "decisions", "glossary.md", "architecture.md"),
]
WORKFLOW = re.compile(r"\.\./\.\./actions/(workflows/[\w-]+\.yml)(/badge\.svg)?")
"""A workflow's page or badge, relative to a file at the top of the repository as GitHub shows it."""


def anchors_of(text: str) -> set[str]:
    """The anchors that a page's headings get where it is shown."""
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """Those relative links of a page that lead to no file, or to no heading of one."""
    broken = []
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"[a-z]+:", link):
            continue
        workflow = WORKFLOW.fullmatch(link)
        if workflow:
            broken += [] if (page.parent / ".github" / workflow[1]).is_file() else [link]
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        is_there = target.exists() and (not anchor or anchor in anchors_of(target.read_text()))
        broken += [] if is_there else [link]
    return broken


def test_every_link_between_pages_resolves(root: Path, texts: dict[Path, str]) -> None:
    found = {path: broken_links(root / path, text) for path, text in texts.items() if path.suffix == ".md"}

    assert {path: links for path, links in found.items() if links} == {}


def test_a_broken_link_is_detected(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading\n")

    assert broken_links(page, "[a](page.md) [b](gone.md) [c](#a-heading) [d](#gone)") == ["gone.md", "#gone"]


def test_a_badge_of_a_workflow_that_does_not_exist_is_found(tmp_path: Path) -> None:
    (tmp_path / ".github/workflows").mkdir(parents=True)
    (tmp_path / ".github/workflows/there.yml").touch()
    badges = "[a](../../actions/workflows/there.yml/badge.svg) [b](../../actions/workflows/gone.yml)"

    assert broken_links(tmp_path / "page.md", badges) == ["../../actions/workflows/gone.yml"]


@pytest.mark.parametrize("name", PAGES)
def test_the_readme_leads_to(name: str, root: Path) -> None:
    assert f"(docs/{name})" in (root / "README.md").read_text()


@pytest.mark.parametrize("reason", list(Reason))
def test_operating_explains_every_reason_in_a_row(reason: Reason, root: Path) -> None:
    rows = [line for line in (root / "docs/operating.md").read_text().splitlines() if line.startswith("|")]

    assert any(f"`{reason}`" in row for row in rows)


def test_decisions_are_numbered_without_gaps(root: Path) -> None:
    numbers = sorted(int(path.name.partition("-")[0]) for path in (root / "docs/decisions").glob("[0-9]*.md"))

    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers


def test_the_install_commands_of_the_readme_are_those_that_tests_run(root: Path) -> None:
    # tests/chart runs every command of docs/deploying.md.
    install = (root / "README.md").read_text().partition("\n## Install\n")[2].partition("\n## ")[0]
    tested = (root / "docs/deploying.md").read_text().partition("\n## MinIO\n")[2].partition("\n## ")[0]
    commands = [re.split(r"(?m)^\$ ", block) for block in re.findall(r"(?ms)^```console\n(.*?)^```$", install)]
    entered = [command for block in commands for command in block if command.strip()]

    assert len(entered) == 3
    assert [command for command in entered if f"$ {command}" not in tested] == []


def test_the_picture_of_the_dashboard_has_every_panel(root: Path) -> None:
    panels = json.loads((root / "charts/libbucket/files/dashboard.json").read_text())["panels"]
    picture = (root / "docs/dashboard.svg").read_text()

    assert len(panels) > 10
    assert [panel["title"] for panel in panels if f">{panel['title']}" not in picture] == []


def test_every_package_is_in_the_table_of_the_readme(root: Path) -> None:
    readme = (root / "README.md").read_text()
    packages = [path.parent.relative_to(root) for path in root.glob("packages/*/pyproject.toml")]

    assert [package for package in packages if f"({package}/README.md)" not in readme] == []
