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

_MADE_HERE: Final = re.compile(r"obc-[0-9a-f]{24}")
_DOMAIN: Final = ".iam.gserviceaccount.com"
_ID: Final = re.compile(r"[a-z][-a-z0-9]{4,28}[a-z0-9]")


def describe(owner: Owner) -> str:
    """What an account says about itself: by this it is known again, so it must never change."""
    return json.dumps({"objectbucket_cluster_id": owner.cluster_id, "objectbucket_claim_uid": owner.uid})


def build_account_id(text: str) -> str:
    """A name for an account, of 28 characters; the same for the same text.

    Google takes 6 to 30 lower-case letters, digits and hyphens: https://cloud.google.com/iam/docs/service-accounts-create.
    """
    return f"obc-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def is_own_name(email: str, user_id: str) -> bool:
    """Whether a claim's account has a name that is made here, in whatever project: any other is a shared one's.

    The form counts, too: what a name is made of may change between releases.
    """
    name = email.partition("@")[0]
    return bool(_MADE_HERE.fullmatch(name)) or name == build_email(user_id, "project").partition("@")[0]


def project_of(email: str, default: str) -> str:
    """The project that an account was made in, which its address names; `default` where it does not.

    Google's own accounts (`...@developer.gserviceaccount.com`) have addresses of other forms:
    https://cloud.google.com/iam/docs/service-account-types.
    """
    domain = email.partition("@")[2]
    name = domain.removesuffix(_DOMAIN)
    if name == domain or not name:
        return default
    return ":".join(reversed(name.split(".", 1)))


def build_email(user_id: str, project: str) -> str:
    """The address of the account of that name; `example.com:name` is how projects of a domain are called."""
    account_id = user_id if _ID.fullmatch(user_id) else build_account_id(user_id)
    return f"{account_id}@{'.'.join(reversed(project.split(':')))}{_DOMAIN}"
