"""Selects the keys of `spec.additionalConfig` that are passed to the provisioner; warns about the others. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from libbucket import _api
from libbucket._kube.compaction import MAX_CONFIG_SIZE
from libbucket.limits import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN_KEYS: Final = frozenset(
    {
        "maxObjects",
        "maxSize",
        "bucketMaxObjects",
        "bucketMaxSize",
        "bucketPolicy",
        "bucketLifecycle",
        "bucketOwner",
        "bucketVersioning",
    }
)

_MOST_WARNINGS: Final = 10
"""Maximum number: each becomes an Event, and a claim may have a thousand keys."""
_LONGEST_KEY: Final = 63
_MOST_KEYS: Final = 4096
"""Maximum number of keys; the values of known keys are bounded by `MAX_VALUE_LENGTH`."""


@dataclass(frozen=True, kw_only=True)
class SelectedConfig:
    """The selected keys of a claim.

    Attributes:
        applied: keys that the operator allows and the store supports.
        warnings: one sentence for each other key, up to a maximum, then one for the rest.
        mistakes: one sentence for each key above a limit; if there is any, nothing is applied.
    """

    applied: Mapping[str, str]
    warnings: tuple[str, ...]
    mistakes: tuple[str, ...] = ()


def select_config(raw: Any, *, allowed: frozenset[str], supported: frozenset[str]) -> SelectedConfig:
    """Selects the keys of a claim's `additionalConfig`.

    Args:
        raw: any JSON.
        allowed: by the operator (`--allow-additional-config`).
        supported: by the store.
    """
    if isinstance(raw, dict) and _api.TOO_LARGE in raw:
        largest = _shown(str(raw[_api.TOO_LARGE]))
        limit = f"the {MAX_CONFIG_SIZE // 1024} KiB that are read"
        sentence = f"spec.additionalConfig is larger than {limit}; its largest key is {largest}"
        return SelectedConfig(applied={}, warnings=(), mistakes=(sentence,))
    if isinstance(raw, dict) and len(raw) > _MOST_KEYS:
        sentence = f"spec.additionalConfig has {len(raw):,} keys; at most {_MOST_KEYS} are read"
        return SelectedConfig(applied={}, warnings=(), mistakes=(sentence,))
    values = _api.strings(raw)
    why = dict.fromkeys(_api.unusable_keys(raw), "its value is not a string")
    why |= {key: _why_not(key, supported) for key in sorted(values) if key not in allowed & supported}
    applied = {key: value for key, value in values.items() if key in allowed & supported}
    mistakes = tuple(
        f"spec.additionalConfig.{key} has {len(value):,} characters; at most {MAX_VALUE_LENGTH:,} are read"
        for key, value in sorted(applied.items())
        if len(value) > MAX_VALUE_LENGTH
    )
    return SelectedConfig(applied={} if mistakes else applied, warnings=_warnings(why), mistakes=mistakes)


def _warnings(why: Mapping[str, str]) -> tuple[str, ...]:
    said = list(why.items())[:_MOST_WARNINGS]
    sentences = [f"spec.additionalConfig.{_shown(key)} is ignored: {reason}" for key, reason in said]
    if len(why) > len(said):
        sentences.append(f"spec.additionalConfig has {len(why) - len(said)} more keys that are ignored")
    return tuple(sentences)


def _shown(key: str) -> str:
    return key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}..."


def _why_not(key: str, supported: frozenset[str]) -> str:
    if key in supported:
        return "the operator does not allow it (--allow-additional-config)"
    if key in KNOWN_KEYS:
        return "the store does not support it"
    return "the key is unknown"
