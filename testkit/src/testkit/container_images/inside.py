"""Runs inside an image, with its Python and its packages: the conformance suite of one store.

    python inside.py MODULE FOLDER_OF_PYTEST SUPPORT_FOLDER WORKERS TEST...

It is also the plugin by which each worker finds the server that runs for it outside. What the suite needs and an image
lacks comes last in the path, so that everything which an image has is the image's.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path


def pytest_addoption() -> None:
    """Adds no option: it is the hook that comes before a package's conftest.py takes its servers' starter."""
    worker = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
    if worker is not None:
        from outside import use_server_outside

        use_server_outside(os.environ["SERVERS_OUTSIDE"], int(worker[1]))


def main() -> int:
    """Runs pytest; gives its exit code."""
    module, tools, support, workers, *tests = sys.argv[1:]
    sys.path[:] = [path for path in sys.path if Path(path) != Path(__file__).parent]
    place = str(importlib.import_module(module).__file__)
    if not place.startswith("/opt/libbucket/"):
        print(f"{module} is {place}, which is not the image's")
        return 1
    sys.path += [tools, support, str(Path(__file__).parent)]
    import pytest

    # Whether a socket that a client leaves open is found depends on when this Python collects it: not the matter here.
    options = ["-p", "no:cacheprovider", "-q", "-W", "ignore::pytest.PytestUnraisableExceptionWarning"]
    options += ["-p", Path(__file__).stem, f"--numprocesses={workers}", "--dist=load"]
    return int(pytest.main([*options, *tests]))


if __name__ == "__main__":
    sys.exit(main())
