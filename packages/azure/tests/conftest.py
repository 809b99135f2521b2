"""Fixtures of all tests of this package; makes the helpers in support importable."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))
