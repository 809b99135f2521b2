"""Notes whether a call of the provisioner has sent anything to its store: the fence sees every request.

Between the provisioner, which asks the fence, and `ProvisionerCalls`, which asks here when a call has
failed. Knows neither.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class RequestTracker:
    """What the call that this thread is in has sent.

    Args:
        fence: asked before each request; raises to hold it back.
    """

    def __init__(self, fence: Callable[[], None]) -> None:
        self._fence = fence
        self._of_thread = threading.local()

    def fence(self) -> None:
        """Asks the fence, and notes that a request goes: for `Services`."""
        self._fence()
        self._of_thread.anything = True

    def begin(self) -> None:
        """A call begins, and has sent nothing yet."""
        self._of_thread.anything = False

    @property
    def anything(self) -> bool:
        """Whether the call that this thread began last has sent anything."""
        return getattr(self._of_thread, "anything", True)
