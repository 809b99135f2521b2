"""Demonstrates claims on a real API server and a real store: `nox -s demo -- minio`.

The command line and the exit codes: 0 shown, 1 something failed (one sentence says what), 2 wrong usage,
130 interrupted. `script` contains the steps.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    """Runs the demo, and stops everything that it started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _run()
    except KeyboardInterrupt:
        # Once more would only end this message: what is started is stopped already, or by its guard.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("\ninterrupted: everything is stopped, nothing is left behind", flush=True)
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run() -> int:
    # Here, because they take a moment, in which Ctrl-C must not show a traceback either.
    from demo.script import Request, run
    from libbucket.testing.problems import SetupFailed
    from testkit.stores import STORES

    arguments = _parse(sorted(STORES))
    request = Request(
        store=arguments.store, keep=arguments.keep, kubeconfig=arguments.kubeconfig, context=arguments.context or ""
    )
    try:
        run(request)
    except (SetupFailed, AssertionError) as error:
        print(f"\nthe demo stopped: {error}", flush=True)
        return 1
    return 0


def _parse(stores: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s demo --", description="Shows claims get their buckets.")
    parser.add_argument("store", choices=stores)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument("--kubeconfig", type=Path, help="file of a cluster of your own; needs --context")
    parser.add_argument("--context", help="context in that file: never the current one by accident")
    arguments = parser.parse_args()
    if (arguments.kubeconfig is None) != (arguments.context is None):
        parser.error("--kubeconfig and --context come together: a cluster is only used when it is named")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
