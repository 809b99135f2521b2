"""The conformance suite on the provisioner in memory."""

from __future__ import annotations

import pytest

from libbucket.testing.conformance import Backend, Conformance
from libbucket.testing.memory_backend import MemoryBackend


class TestMemory(Conformance):
    @pytest.fixture
    def backend(self) -> Backend:
        return MemoryBackend()
