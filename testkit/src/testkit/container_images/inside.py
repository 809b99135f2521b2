"""Runs inside an image, with its Python and its packages: the conformance suite of one store.

    python inside.py MODULE FOLDER_OF_PYTEST WORKERS TEST...

It is also the plugin by which each worker finds the server that runs for it outside. What the suite needs and an image
lacks comes last in the path, so that everything which an image has is the image's.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path

TESTKIT = Path(__file__).parents[2]


def pytest_addoption() -> None:
    """Adds no option: this hook runs before a package's conftest.py imports what starts its servers."""
    worker = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
    if worker is not None:
        from testkit.container_images.outside import use_server_outside

        use_server_outside(os.environ["SERVERS_OUTSIDE"], int(worker[1]))


def main() -> int:
    """Runs pytest; gives its exit code."""
    module, tools, workers, *tests = sys.argv[1:]
    sys.path[:] = [path for path in sys.path if Path(path) != Path(__file__).parent]
    origin = str(importlib.import_module(module).__file__)
    if not origin.startswith("/opt/libbucket/"):
        print(f"{module} is {origin}, which is not the image's")
        return 1
    # An image has no installation of the testkit, so there is no other way to make it importable.
    sys.path += [tools, str(TESTKIT)]
    import pytest

    # Whether a socket that a client leaves open is found depends on when this Python collects it; other tests find it.
    options = ["-p", "no:cacheprovider", "-q", "-W", "ignore::pytest.PytestUnraisableExceptionWarning"]
    options += ["-p", "testkit.container_images.inside", f"--numprocesses={workers}", "--dist=load"]
    return int(pytest.main([*options, *tests]))


if __name__ == "__main__":
    sys.exit(main())
