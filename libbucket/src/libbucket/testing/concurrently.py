"""Gets several programs at the same time: builds, downloads and installs that do not need each other.

Above `binaries`; knows none of the programs. Each task shows its own progress, see `progress`.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def run_concurrently(*tasks: Callable[[], object]) -> None:
    """Runs all tasks, each in a thread, and returns when all are done.

    The first failure is raised at once: what the others have started ends with this process, as it does on Ctrl-C
    (see `processes`), and what they have completed is kept.

    Raises:
        Exception: what the first task to fail raised, usually `SetupFailed`.
    """
    outcomes: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run(task: Callable[[], object]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            outcomes.put(error)
        else:
            outcomes.put(None)

    for task in tasks:
        # Daemons, so that neither a failure nor Ctrl-C waits for a build of ten minutes.
        threading.Thread(target=run, args=(task,), name="get", daemon=True).start()
    for _ in tasks:
        failure = outcomes.get()
        if failure is not None:
            raise failure
