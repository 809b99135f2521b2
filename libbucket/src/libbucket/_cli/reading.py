"""What the readers of one claim and of the whole cluster share: an answer, or a note why there is none.

Under `reader` and `survey`. Reads only, and explains nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from libbucket._kube.discovery import read_crd_features
from libbucket._kube.errors import KubeError
from libbucket._kube.lists import list_objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._kube.client import KubeClient

T = TypeVar("T")


class Reading:
    """Reads with the operator's permissions.

    Args:
        client: with them.

    Attributes:
        unread: what may not be read, or does not answer, with the reason.
    """

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self.unread: dict[str, str] = {}

    def attempt(self, what: str, read: Callable[[], T], otherwise: T) -> T:
        """What is read; `otherwise`, with a note, where it cannot be."""
        try:
            return read()
        except KubeError as error:
            self.unread[what] = str(error)
            return otherwise

    def lost_fields(self) -> tuple[str, ...]:
        """What the installed CRDs would drop; empty where they are not known."""
        features = read_crd_features(self.client)
        return tuple(features.losses()) if features is not None else ()

    def objects(self, path: str, params: dict[str, str]) -> list[dict[str, Any]]:
        """The objects at a path."""
        return list_objects(self.client, path, params)
