"""The page about testing: its test, written to a folder of a third party, passes there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from .conftest import ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "testing.md"


def test_every_module_of_the_table_is_there() -> None:
    text = PAGE.read_text().partition("## Tests for a store of your own")[2].partition("A control plane with")[0]
    names = [
        name
        for line in text.splitlines()
        if line.startswith("| `") and "testing.`" not in line
        for name in line.split("|")[1].split("`")[1::2]
    ]
    folder = ROOT / "libbucket" / "src" / "libbucket" / "testing"

    assert len(names) >= 10
    assert [name for name in names if not any((folder / f"{name}{end}").exists() for end in (".py", ""))] == []


def test_the_test_of_the_page_passes(tmp_path: Path) -> None:
    conftest, test = blocks(PAGE, "python")
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_page.py").write_text(test)
    (tmp_path / "crds").symlink_to(ROOT / "crds")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(tmp_path)]

    ran = subprocess.run(
        command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=300, check=False
    )

    assert ran.returncode == 0, ran.stdout
