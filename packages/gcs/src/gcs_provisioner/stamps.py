"""The ownership labels of a bucket: by these a claim's bucket is known again.

Pure; used by `buckets`. https://cloud.google.com/storage/docs/tags-and-labels#bucket-labels has what a label may hold.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from libbucket import Owner


_LABEL_VALUE: Final = re.compile(r"[a-z0-9_-]{0,63}")


def build_ownership_labels(owner: Owner) -> dict[str, str]:
    """The owner's labels. Cluster and uid, which decide, fit as they are; a name is made to fit."""
    return {
        key: value if _LABEL_VALUE.fullmatch(value) else _fit(value) for key, value in owner.ownership_tags().items()
    }


def _fit(value: str) -> str:
    """The beginning, for people, and a hash, for certainty."""
    digest = hashlib.sha256(value.encode()).hexdigest()[:12]
    return f"{re.sub('[^a-z0-9-]', '_', value.lower())[:50]}-{digest}"
