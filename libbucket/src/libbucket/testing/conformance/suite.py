"""The suite over the backend that `--backend PACKAGE.MODULE:FACTORY` names, for who has no test module.

Collected by `python -m libbucket.testing.conformance`, which also loads `plugin`. Knows no store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from libbucket.testing.conformance import Backend, Conformance

if TYPE_CHECKING:
    from libbucket.testing.conformance.plugin import Backends


class TestBackend(Conformance):
    """Every guarantee."""

    @pytest.fixture
    def backend(self, conformance_backends: Backends) -> Backend:
        """The one of the command line, made once."""
        return conformance_backends.only
