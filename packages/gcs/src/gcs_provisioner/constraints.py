"""What to do about an organisation policy constraint that stands in the way of a request: the last words of a message.

Used by `errors`. Pure; knows names of constraints, permissions and parameters, and no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


# https://cloud.google.com/resource-manager/docs/organization-policy/org-policy-constraints
_NO_KEYS: Final = (
    "let the class say credentials: workload-identity-federation, which needs no key, or have the project exempted "
    "from the constraint"
)


_NO_ACCOUNTS: Final = (
    "let the class say credentials: workload-identity-federation, or name an account by parameter serviceAccount"
)


_HELP: Final[Mapping[str, str]] = {
    "gcp.resourceLocations": "set parameter region to a location that it allows (Google's default is US)",
    "iam.disableServiceAccountKeyCreation": _NO_KEYS,
    "iam.managed.disableServiceAccountKeyCreation": _NO_KEYS,
    "iam.disableServiceAccountCreation": _NO_ACCOUNTS,
    "iam.managed.disableServiceAccountCreation": _NO_ACCOUNTS,
    "storage.restrictAuthTypes": "let the class say credentials: json-key or workload-identity-federation",
    "storage.softDeletePolicySeconds": "set parameter softDeleteSeconds to a value that it allows",
    "gcp.restrictNonCmekServices": "set parameter kmsKeyName",
    "gcp.restrictCmekCryptoKeyProjects": "set parameter kmsKeyName to a key of a project that it allows",
    "storage.secureHttpTransport": "parameter endpoint must begin with https://",
}


_HELP_BY_PERMISSION: Final[Mapping[str, str]] = {
    "storage.buckets.create": "compare parameters region, kmsKeyName and softDeleteSeconds with the project's policies",
    "storage.buckets.setIamPolicy": (
        "domain restricted sharing may refuse a member of the bucket's policy, of the provisioner's or of others"
    ),
    "storage.hmacKeys.create": _NO_KEYS,
    "iam.serviceAccountKeys.create": _NO_KEYS,
    "iam.serviceAccounts.create": _NO_ACCOUNTS,
}


_GENERAL_HELP: Final = "compare the parameters of the class with the project's policies"


def advise(constraint: str, permission: str) -> str:
    """How to get a request past a constraint.

    Args:
        constraint: that the answer names; "" where it names none.
        permission: that the request needs.
    """
    return _HELP.get(constraint) or _HELP_BY_PERMISSION.get(permission) or _GENERAL_HELP
