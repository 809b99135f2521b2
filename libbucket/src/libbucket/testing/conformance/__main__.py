"""Runs the suite on a backend, without a test module: `python -m libbucket.testing.conformance depot_tests:backend`.

Everything after the backend is passed to pytest, such as `-k revok`, `--junit-xml FILE` or `--conformance-html FILE`.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_USAGE: Final = "usage: python -m libbucket.testing.conformance PACKAGE.MODULE:FACTORY [OPTION OF PYTEST]...\n"
_PLUGINS: Final = ("report", "plugin")


def main(arguments: Sequence[str]) -> int:
    """Runs the suite; returns pytest's exit code."""
    if not arguments or arguments[0].startswith("-"):
        sys.stderr.write(_USAGE)
        return 0 if set(arguments) & {"-h", "--help"} else 2
    import pytest

    backend, *rest = arguments
    sys.path.insert(0, str(Path.cwd()))  # as for `python -m pytest`: the backend may lie in this folder
    plugins = [option for name in _PLUGINS for option in ("-p", f"{__package__}.{name}")]
    spec = find_spec(f"{__package__}.suite")
    assert spec is not None
    # The settings of this folder are for its own tests.
    own = ["-c", "/dev/null", "--rootdir", str(Path.cwd()), "--import-mode=importlib", "-p", "no:cacheprovider", "-q"]
    return int(pytest.main([*own, *plugins, "--backend", backend, *rest, str(spec.origin)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
