"""Reduces objects to the part that the caches keep: the fields that are used, with bounded sizes.

Used by the caches. A tenant may write 1.5 MB into a claim, and 256 KiB of annotations on any of its objects; a hundred
such claims would exhaust the memory of the provisioner that serves all tenants. Pure: no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from libbucket import _api

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CONFIG_SIZE: Final = 128 * 1024
"""Bytes of a claim's `additionalConfig` as JSON; a larger one is refused, see `_api.TOO_LARGE`."""

_MAX_NOTES: Final = 8 * 1024
"""Characters of a claim's labels, and of its annotations, that are kept for provisioners."""

_LONGEST_KEY: Final = 63
_OURS: Final = f"{_api.GROUP}/"


def compact_claim(claim: _api.ObjectBucketClaim) -> _api.ObjectBucketClaim:
    """The claim, with a bounded `additionalConfig` and bounded labels and annotations."""
    meta, spec = claim.metadata, claim.spec
    labels, annotations = _bounded(meta.labels), _bounded(meta.annotations)
    if labels is not meta.labels or annotations is not meta.annotations:
        claim = replace(claim, metadata=replace(meta, labels=labels, annotations=annotations))
    if _is_too_large(spec.additional_config):
        config = {_api.TOO_LARGE: _largest_key(spec.additional_config)}
        claim = replace(claim, spec_or_none=replace(spec, additional_config=config))
    return claim


def compact_metadata(one: _api.Metadata) -> _api.Metadata:
    """The metadata of a Secret or ConfigMap: which version it is, whose, and what has to be removed. Nothing else."""
    meta = one.metadata
    label = meta.label(_api.PROVISIONER_LABEL)
    owners = [
        _api.OwnerReference(uid=each.uid, controller=True) for each in meta.owner_references or () if each.controller
    ]
    kept = _api.Meta(
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        resource_version=meta.resource_version,
        deletion_timestamp=meta.deletion_timestamp,
        labels={_api.PROVISIONER_LABEL: label} if label else None,
        finalizers=meta.finalizers,
        owner_references=owners or None,
    )
    return _api.Metadata(metadata=kept)


def _bounded(notes: dict[str, str] | None) -> dict[str, str] | None:
    """Our own entries, and as many others as fit."""
    if notes is None or _size(notes) <= _MAX_NOTES:
        return notes
    kept: dict[str, str] = {}
    for key, value in sorted(notes.items(), key=_ours_first):
        if _size(kept) + len(key) + len(value) <= _MAX_NOTES:
            kept[key] = value
    return kept


def _ours_first(entry: tuple[str, str]) -> tuple[bool, str]:
    key = entry[0]
    return not (key.startswith(_OURS) or key == _api.PROVISIONER_LABEL), key


def _size(notes: Mapping[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in notes.items())


def _largest_key(config: dict[str, Any]) -> str:
    return max(config, key=lambda key: len(key) + len(msgspec.json.encode(config[key])))[:_LONGEST_KEY]


def _is_too_large(config: Any) -> bool:
    return isinstance(config, dict) and bool(config) and len(msgspec.json.encode(config)) > MAX_CONFIG_SIZE
