"""Reads claims and StorageClasses from YAML or JSON files. Makes no request.

Other kinds are counted and left out. What is wrong with a file is one sentence with its name, and never its content.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import yaml
from msgspec.structs import replace

from libbucket import _api
from libbucket._cli.session import CannotRead
from libbucket._reconcile.model.names import is_object_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST_BYTES: Final = 16 * 1024 * 1024
_MOST_OBJECTS: Final = 10_000
_CLASS: Final = ("storage.k8s.io/v1", "StorageClass")
_CLAIM: Final = (_api.API_VERSION, _api.CLAIM_KIND)


@dataclass(frozen=True, kw_only=True)
class Manifests:
    """What the files hold.

    Attributes:
        claims: with their namespace.
        classes: StorageClasses.
        others: number of objects of other kinds.
    """

    claims: tuple[dict[str, Any], ...]
    classes: tuple[dict[str, Any], ...]
    others: int


def read_manifests(names: Sequence[str], *, namespace: str) -> Manifests:
    """Reads files; `-` is standard input.

    Args:
        names: of the files.
        namespace: of claims that name none.

    Raises:
        CannotRead: a file cannot be read, or is not a list of objects.
    """
    found = [one for name in names for one in _objects(name)]
    if len(found) > _MOST_OBJECTS:
        raise CannotRead(f"the files have {len(found):,} objects; at most {_MOST_OBJECTS:,} are read")
    claims = tuple(_in_namespace(one, namespace) for one in found if _kind(one) == _CLAIM)
    classes = tuple(one for one in found if _kind(one) == _CLASS)
    return Manifests(claims=claims, classes=classes, others=len(found) - len(claims) - len(classes))


def read_object_buckets(name: str) -> list[_api.ObjectBucketObject]:
    """The ObjectBuckets of a backup, such as of `kubectl get objectbuckets --output yaml`; without their uid.

    Raises:
        CannotRead: the file cannot be read, or one of them cannot be decoded.
    """
    found = [one for one in _objects(name) if _kind(one) == (_api.API_VERSION, _api.BUCKET_KIND)]
    try:
        buckets = [msgspec.convert(one, _api.ObjectBucketObject, strict=False) for one in found]
    except msgspec.ValidationError as error:
        raise CannotRead(f"{name}: an ObjectBucket cannot be decoded: {error}") from error
    # Of another cluster, or of another time: not objects that this cluster has.
    return [replace(one, metadata=replace(one.metadata, uid="", resource_version="")) for one in buckets]


def _objects(name: str) -> Iterator[dict[str, Any]]:
    for number, document in enumerate(_documents(name), start=1):
        listed = document.get("items") if isinstance(document, dict) and "items" in document else [document]
        for one in listed or ():
            if one is None:
                continue
            if not isinstance(one, dict) or not is_object_name(str((one.get("metadata") or {}).get("name") or "")):
                raise CannotRead(f"{name}: document {number} is not an object with a valid metadata.name")
            yield one


def _documents(name: str) -> list[Any]:
    try:
        content = sys.stdin.buffer.read(_MOST_BYTES + 1) if name == "-" else Path(name).read_bytes()
        if len(content) > _MOST_BYTES:
            raise CannotRead(f"{name}: larger than {_MOST_BYTES // 1024 // 1024} MiB")
        return list(yaml.safe_load_all(content))
    except OSError as error:
        raise CannotRead(f"{name}: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Messages of the parser quote the file.
        mark = getattr(error, "problem_mark", None)
        raise CannotRead(f"{name}: not valid YAML{f' in line {mark.line + 1}' if mark else ''}") from error


def _kind(one: dict[str, Any]) -> tuple[str, str]:
    return str(one.get("apiVersion")), str(one.get("kind"))


def _in_namespace(claim: dict[str, Any], namespace: str) -> dict[str, Any]:
    meta = claim["metadata"]
    return {**claim, "metadata": {**meta, "namespace": str(meta.get("namespace") or namespace)}}
