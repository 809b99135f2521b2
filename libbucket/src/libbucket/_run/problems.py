"""Errors that end the process during startup."""

from __future__ import annotations


class StartFailed(Exception):
    """The provisioner cannot start: one sentence with the cause, for operators."""
