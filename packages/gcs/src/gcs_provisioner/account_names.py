"""What a claim's service account is called, and what it says about itself.

Pure; used by `identity` and `provisioner`. Knows no request.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from libbucket import Owner


ACCOUNT_STATE: Final = "ServiceAccount"
"""Where a claim remembers its account's address: how it is derived may change between releases."""

_ID: Final = re.compile(r"[a-z][-a-z0-9]{4,28}[a-z0-9]")


def describe(owner: Owner) -> str:
    """What an account says about itself: by this it is known again, so it must never change."""
    return json.dumps({"objectbucket_cluster_id": owner.cluster_id, "objectbucket_claim_uid": owner.uid})


def build_account_id(text: str) -> str:
    """A name for an account, of 28 characters; the same for the same text.

    Google takes 6 to 30 lower-case letters, digits and hyphens: https://cloud.google.com/iam/docs/service-accounts-create.
    """
    return f"obc-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def build_email(user_id: str, project: str) -> str:
    """The address of the account of that name; `example.com:name` is how projects of a domain are called."""
    account_id = user_id if _ID.fullmatch(user_id) else build_account_id(user_id)
    return f"{account_id}@{'.'.join(reversed(project.split(':')))}.iam.gserviceaccount.com"
