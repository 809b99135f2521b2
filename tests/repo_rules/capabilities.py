"""Builds the table of `docs/stores.md` from what the packages declare.

`python tests/repo_rules/capabilities.py` writes it.

Reads the one typed record of each store; knows which module holds it, and nothing else of a store.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from libbucket.testing.conformance import Ability, Backend, Capabilities, Check

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs/stores.md"
BEGIN, END = "<!-- made: begin -->", "<!-- made: end -->"

BACKENDS: Final = {
    "AWS S3": ("testkit.aws_s3.backend", "AwsBackend"),
    "Google Cloud Storage": ("testkit.gcs.backend", "GcsBackend"),
    "Azure Blob Storage": ("testkit.azure.backend", "AzureBackend"),
    "MinIO": ("testkit.minio.backend", "MinioBackend"),
}
"""Title, module, class."""


def declared() -> dict[str, Capabilities]:
    """What each store declares."""
    return {title: _backend(*where).capabilities for title, where in BACKENDS.items()}


def _backend(module: str, name: str) -> type[Backend]:
    found: type[Backend] = getattr(importlib.import_module(module), name)
    return found


def build_table(stores: Mapping[str, Capabilities]) -> str:
    """The table, its notes numbered below it."""
    notes: list[str] = []
    rows = [["", *stores], ["---"] * (len(stores) + 1)]
    every = list(stores.values())
    rows += [[str(what), *(_cell(one.cannot.get(what), "no", "yes", notes) for one in every)] for what in Ability]
    supported = [{*one.config, *one.config_of_classes} for one in every]
    keys = sorted(set().union(*supported))
    rows += [[f"`additionalConfig.{key}`", *("yes" if key in one else "no" for one in supported)] for key in keys]
    for check in Check:
        cells = (_cell(one.unchecked.get(check), "not seen in tests", "tested", notes) for one in every)
        rows.append([f"checks {check}", *cells])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([table, "", *_numbered(notes)])


def _cell(reason: str | None, missing: str, there: str, notes: list[str]) -> str:
    if reason is None:
        return there
    if reason not in notes:
        notes.append(reason)
    return f"{missing} ({notes.index(reason) + 1})"


def _numbered(notes: Iterable[str]) -> list[str]:
    return [f"{number}. {note}" for number, note in enumerate(notes, 1)]


def page_with(text: str, table: str) -> str:
    """The page, with this table between its marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text(), build_table(declared())))
