"""Where the files of this repository are that tests and fixtures use. Knows paths, and nothing of what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
"""The top of the checkout: this package is only ever installed editable."""

CRDS: Final = ROOT / "crds"
"""The CRDs of `objectbucket.io` that this project ships."""
