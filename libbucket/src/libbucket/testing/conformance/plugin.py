"""The option `--backend`, and the backend that it names: made once, and closed at the end of the run.

A pytest plugin, loaded by `python -m libbucket.testing.conformance`. Knows no store.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from libbucket.testing.conformance.backend import Backend

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Backends:
    """What the suite runs on.

    Attributes:
        only: the backend.
    """

    only: Backend


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--backend`."""
    group = parser.getgroup("conformance", "libbucket's conformance suite")
    group.addoption(
        "--backend",
        metavar="PACKAGE.MODULE:FACTORY",
        required=True,
        help="a Backend, or a function without arguments that gives one, or a context manager that does",
    )


@pytest.fixture(scope="session")
def conformance_backends(request: pytest.FixtureRequest) -> Iterator[Backends]:
    """The backend of the command line."""
    with ExitStack() as stack:
        yield Backends(_made(request.config.getoption("--backend"), stack))


def _made(name: str, stack: ExitStack) -> Backend:
    module, separator, attribute = name.partition(":")
    if not separator:
        raise pytest.UsageError(f"--backend {name} must be PACKAGE.MODULE:FACTORY")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise pytest.UsageError(f"--backend {name} cannot be loaded: {error}") from error
    made = factory()
    if isinstance(made, AbstractContextManager) and not isinstance(made, Backend):
        made = stack.enter_context(made)
    if not isinstance(made, Backend):
        raise pytest.UsageError(f"--backend {name} gives {type(made).__name__}, and not a Backend")
    return made
