"""The layers that the linter checks name every module that there is."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def test_packages_are_kept_from_every_private_module_of_the_core(root: Path) -> None:
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (rule,) = [one for one in contracts if one["name"].startswith("A provisioner package uses the public surface")]
    private = {path.stem for path in (root / "libbucket/src/libbucket").glob("_[a-z]*")}

    assert {f"libbucket.{name}" for name in private} <= set(rule["forbidden_modules"])
    assert private
