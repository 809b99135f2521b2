"""Everything that only the owner's application may do in a bucket: one table for all guarantees about access."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libbucket.testing.conformance.backend import Ability, Check
from libbucket.testing.conformance.environment import CONTENT, OBJECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.testing.application import Application

_PARTS: Final = (b"a" * (5 * 1024 * 1024), b"b")
"""The first is as large as the stores with the largest minimum ask for."""


@dataclass(frozen=True)
class Operation:
    """One request.

    Attributes:
        sentence: what it is, for the report.
        attempt: makes it: who asks, on which bucket, and the bucket that is certainly the asker's own.
        ability: what the store must be able to do.
        check: what an emulator of the store must check, so that a refusal can be seen on it.
    """

    sentence: str
    attempt: Callable[[Application, str, str], object]
    ability: Ability | None = None
    check: Check | None = None

    def __str__(self) -> str:
        return self.sentence


OPERATIONS: Final = (
    Operation("reading an object", lambda app, bucket, _: app.get(bucket, OBJECT)),
    Operation("writing an object", lambda app, bucket, _: app.put(bucket, "new", b"x")),
    Operation("overwriting an object", lambda app, bucket, _: app.put(bucket, OBJECT, b"x")),
    Operation("listing objects", lambda app, bucket, _: app.list_keys(bucket)),
    Operation("deleting an object", lambda app, bucket, _: app.delete(bucket, OBJECT)),
    Operation(
        "deleting objects in a batch", lambda app, bucket, _: app.batch_delete(bucket, [OBJECT]), Ability.BATCH_DELETE
    ),
    Operation(
        "copying from it",
        lambda app, bucket, own: app.copy(bucket, OBJECT, own, "copied"),
        Ability.COPY,
        Check.COPY_SOURCE,
    ),
    Operation("copying into it", lambda app, bucket, own: app.copy(own, OBJECT, bucket, "copied"), Ability.COPY),
    Operation("uploading in parts", lambda app, bucket, _: app.multipart(bucket, "parts", _PARTS), Ability.MULTIPART),
    Operation("beginning an upload", lambda app, bucket, _: app.start_multipart(bucket, "begun"), Ability.MULTIPART),
    Operation("reading by a signed URL", lambda app, bucket, _: app.presigned_get(bucket, OBJECT), Ability.PRESIGNED),
    Operation(
        "writing by a signed URL",
        lambda app, bucket, _: app.presigned_put(bucket, "signed", CONTENT),
        Ability.PRESIGNED,
    ),
)
