"""Buckets in the stores whose claim is gone, as `--list-orphans --log-format=json` of a provisioner reports them.

This program has no access to stores. What it removes it removes as the provisioner does: it writes the ObjectBucket
that the bucket lacks, with `reclaimPolicy: Delete`, and deletes that. The provisioner compares the bucket's ownership
tags with it, and leaves every bucket alone that is not the earlier claim's.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click
import msgspec

from libbucket import _api
from libbucket._cli.session import CannotRead
from libbucket._kube.errors import NotFound
from libbucket._kube.lists import list_typed
from libbucket._kube.resources import BUCKETS, CLAIMS, NAMESPACES
from libbucket._reconcile.model import manifests
from libbucket._reconcile.model.intent import Intent, encode
from libbucket._reconcile.model.names import bucket_object_names, provisioner_label
from libbucket._run.store_orphans import StoreOrphan
from libbucket.types import ReclaimPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._kube.client import KubeClient

_LONGEST: Final = 64 * 1024 * 1024
_NOT_IN_NAMES: Final = re.compile("[^a-z0-9.-]")
"""Tags may hold a claim's name in a form that the store takes."""


def read_report(path: str) -> list[StoreOrphan]:
    """The buckets of a report.

    Raises:
        click.UsageError: it cannot be read, or is none.
    """
    try:
        with click.open_file(path, "rb") as file:
            text = file.read(_LONGEST + 1)
    except OSError as error:
        raise click.UsageError(f"--store-report {path}: {error.strerror or error}") from error
    if len(text) > _LONGEST:
        raise click.UsageError(f"--store-report {path} is longer than {_LONGEST >> 20} MiB")
    return [_parsed(path, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _parsed(path: str, number: int, line: bytes) -> StoreOrphan:
    try:
        return msgspec.json.decode(line, type=StoreOrphan)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(
            f"--store-report {path}, line {number}: not what a provisioner prints with --list-orphans --log-format=json"
        ) from error


def remaining(client: KubeClient, report: list[StoreOrphan]) -> Iterator[StoreOrphan]:
    """Those that have no claim and no ObjectBucket now, either.

    Raises:
        CannotRead: the report is of another cluster, or it is unknown which buckets are used.
        KubeError: the API server refused, or did not answer.
    """
    if not report:
        return
    cluster = client.read(NAMESPACES, "kube-system").metadata.uid
    if any(one.cluster != cluster for one in report):
        raise CannotRead("the store report is of another cluster: nothing was compared")
    buckets, unreadable_buckets = list_typed(client, BUCKETS)
    claims, unreadable_claims = list_typed(client, CLAIMS)
    if unreadable_buckets or unreadable_claims:
        raise CannotRead("some claims or ObjectBuckets cannot be decoded, so it is unknown which buckets are used")
    living, named = {one.metadata.uid for one in claims}, {one.endpoint.bucket_name for one in buckets}
    yield from (one for one in report if one.uid not in living and one.bucket not in named)


def request_removal(client: KubeClient, orphan: StoreOrphan) -> str:
    """Has the provisioner remove a bucket, if it still has no claim; gives the name of the ObjectBucket.

    Raises:
        CannotRead: a claim or an ObjectBucket for it exists by now.
        KubeError: the API server refused, or did not answer.
    """
    if orphan not in remaining(client, [orphan]):
        raise CannotRead(f"bucket {orphan.bucket} has a claim or an ObjectBucket by now: nothing was removed")
    made = client.create(BUCKETS, _object_bucket(orphan))
    with suppress(NotFound):
        client.delete(BUCKETS, made.metadata.name, uid=made.metadata.uid)
    return made.metadata.name


def _object_bucket(orphan: StoreOrphan) -> dict[str, object]:
    """Under a name that no claim can have: another claim of the same name may exist."""
    claim = _api.ObjectBucketClaim(
        metadata=_api.Meta(namespace=orphan.namespace, name=orphan.name, uid=orphan.uid),
        spec_or_none=_api.ClaimSpec(storage_class_name=orphan.storage_class),
    )
    intent = Intent(
        provisioner=orphan.provisioner,
        user_id=orphan.user_id,
        greenfield=True,
        parameters=dict(orphan.parameters),
        has_worked=True,
    )
    return manifests.new_bucket_object(
        claim,
        name=bucket_object_names(orphan.namespace, _NOT_IN_NAMES.sub("-", orphan.name), orphan.uid)[-1],
        label=provisioner_label(orphan.provisioner),
        intent=encode(intent),
        bucket_name=orphan.bucket,
        reclaim_policy=ReclaimPolicy.DELETE,
    )
