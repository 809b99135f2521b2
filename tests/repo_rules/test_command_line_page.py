"""docs/command-line.md names every command and every option of the command line."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from libbucket._cli.commands import main

PAGE = (Path(__file__).parents[2] / "docs/command-line.md").read_text()
OPTIONS = [
    (name, option)
    for name, command in main.commands.items()
    for option in command.params
    if isinstance(option, click.Option)
]


@pytest.mark.parametrize("name", main.commands)
def test_every_command_has_a_row(name: str) -> None:
    assert f"\n| [`{name}" in PAGE


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=[f"{name} {option.name}" for name, option in OPTIONS])
def test_every_option_is_named(name: str, option: click.Option) -> None:
    assert any(f"{spelling}`" in PAGE or f"{spelling} " in PAGE for spelling in option.opts), name
