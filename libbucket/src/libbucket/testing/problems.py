"""The one kind of error that setting up a test bed ends with. Bottom of `libbucket.testing`."""

from __future__ import annotations


class SetupFailed(Exception):
    """Something that tests run on can't be had: the message is one sentence for the person who started them."""
