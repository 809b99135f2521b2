"""The administrator's Secret of a backend's provisioner: as it is, or replaced while the provisioner runs.

Shared by the backends of all stores; knows none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libbucket import SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from libbucket.provisioner import SecretReader


def rotated(right: Mapping[str, str], wrong: Mapping[str, str], is_spoilt: Callable[[], bool]) -> SecretReader:
    """Reads `wrong` where `is_spoilt()`, else `right`: under any name."""

    def read_secret(namespace: str, name: str) -> Mapping[str, SecretStr]:
        del namespace, name
        return {key: SecretStr(value) for key, value in (wrong if is_spoilt() else right).items()}

    return read_secret


def constant(held: Mapping[str, str]) -> SecretReader:
    """Reads the same under any name."""
    return rotated(held, held, lambda: False)
