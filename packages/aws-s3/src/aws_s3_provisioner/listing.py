"""All buckets of the account with ownership tags, for `--list-orphans`. Reads only.

Used by `provisioner`, as the administrator. At AWS a class sees its own region: the buckets of another one are listed
with a class of that region. Whose the buckets are, and which of them are orphans, the core decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aws_s3_provisioner.errors import translated
from aws_s3_provisioner.request_ids import request_id_of
from libbucket import AccessDenied, BucketExists, StoreRefused, has_ownership_tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aws_s3_provisioner.client import Clients
    from aws_s3_provisioner.storage import Storage

_PAGE: Final = 1000
_PAGES: Final = 1000
"""An account has at most a million buckets: https://docs.aws.amazon.com/general/latest/gr/s3.html."""
_NAMED: Final = 3


def list_owned(storage: Storage, *, region: str, prefix: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Name and tags of each bucket with ownership tags, by one request for each bucket, and one for a thousand names.

    Args:
        storage: of the administrator.
        region: of the class.
        prefix: what names of the class's buckets begin with: the tags of others may be none of the provisioner's
            business, so that a refusal there says nothing.

    Raises:
        AccessDenied: the tags of some buckets may not be read; what was found has been given by then.
        ProvisionerError: AWS did not say.
    """
    refused: list[tuple[str, AccessDenied]] = []
    for name in _list_names(storage.clients, region):
        try:
            tags = storage.find_tags(name).value
        except BucketExists:
            continue  # it was removed meanwhile, and another account has made one of its name
        except AccessDenied as error:
            if name.startswith(prefix):
                refused.append((name, error))
            continue
        if tags and has_ownership_tags(tags):
            yield name, tags
    if refused:
        raise _unread(refused)


def _list_names(clients: Clients, region: str) -> Iterator[str]:
    """Only other stores leave the region out: there is one, and they may know no such parameter."""
    query: dict[str, Any] = {"MaxBuckets": _PAGE, **({"BucketRegion": region} if clients.is_aws else {})}
    for _ in range(_PAGES):
        with translated(clients.call("s3:ListAllMyBuckets")):
            found = clients.s3.list_buckets(**query)
        yield from (bucket["Name"] for bucket in found.get("Buckets", []) if "Name" in bucket)
        if not found.get("ContinuationToken"):
            return
        query["ContinuationToken"] = found["ContinuationToken"]
    raise StoreRefused(
        f"{clients.where} lists more than {_PAGES} pages of buckets: the rest was not read",
        request_id=request_id_of(found),
    )


def _unread(refused: list[tuple[str, AccessDenied]]) -> AccessDenied:
    first = refused[0][1]
    names = ", ".join(name for name, _ in refused[:_NAMED])
    more = f" and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
    return AccessDenied(
        f"whose these buckets are is unknown: {names}{more}: {first.message}", request_id=first.request_id
    )
