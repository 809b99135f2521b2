"""What ends the process before it works, in one sentence that an operator can act on."""

from __future__ import annotations


class StartFailed(Exception):
    """The provisioner can't start: one sentence that says what and why."""
