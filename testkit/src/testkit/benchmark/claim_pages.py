"""The pages of lists with very many bound claims, one a line: `python -m testkit.benchmark.claim_pages 100000`.

Each line is a kind and the page as JSON. The objects are those of one claim that the real core has bound, under other
names and uids, so that a core that reads them finds every claim unchanged.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from libbucket import _api
from libbucket._reconcile.model.intent import encode, last_applied_of, spec_hash
from libbucket._reconcile.model.manifests import spec_of
from testkit.api_server import plural_of
from testkit.benchmark.cached_claims import PAGE
from testkit.core import Core
from testkit.quiet import quietly

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME: Final = "claim-0000000"
_UID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KINDS: Final = {
    "objectbucketclaims": "claims",
    "objectbuckets": "buckets",
    "secrets": "secrets",
    "configmaps": "config_maps",
}
_MANAGED: Final = [{"manager": "libbucket", "operation": "Update", "fieldsV1": {f"f:{n}": {} for n in range(20)}}]


def pages(claims: int) -> Iterator[tuple[str, bytes]]:
    """Kind and page, of the class and of all lists."""
    core = Core()
    core.reconcile(core.create_claim(_NAME, bucketName=f"{_NAME}-bucket"), times=2)
    for path, raw in core.client.cluster.objects.items():
        plural = plural_of(path)
        if plural not in _KINDS:
            yield "classes", raw
            continue
        for first in range(0, claims, PAGE):
            items = [_renamed(raw, number, plural) for number in range(first, min(first + PAGE, claims))]
            yield _KINDS[plural], b'{"metadata":{"resourceVersion":"1"},"items":[%s]}' % b",".join(items)


def _renamed(raw: bytes, number: int, plural: str) -> bytes:
    one = json.loads(raw.decode().replace(_NAME, f"claim-{number:07}"))
    one = _with_uids(one, number)
    one["metadata"]["managedFields"] = _MANAGED
    if plural == "objectbuckets":
        bucket = msgspec.convert(one, _api.ObjectBucketObject)
        applied = last_applied_of(bucket)
        assert applied is not None
        applied = msgspec.structs.replace(applied, spec=spec_hash(*spec_of(bucket)))
        one["metadata"]["annotations"][_api.OBSERVED] = encode(applied)
    return json.dumps(one).encode()


def _with_uids(value: Any, number: int) -> Any:
    """Every uid is another one for each claim, and the same in all of its objects."""
    text = json.dumps(value)
    for uid in sorted(set(_UID.findall(text))):
        text = text.replace(uid, str(uuid5(NAMESPACE_URL, f"{uid}/{number}")))
    return json.loads(text)


if __name__ == "__main__":
    with quietly():
        for kind, page in pages(int(sys.argv[1])):
            sys.stdout.buffer.write(kind.encode() + b" " + page.replace(b"\n", b"") + b"\n")
