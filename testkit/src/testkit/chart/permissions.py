"""The RBAC permissions that the chart grants, one by one, and what a log says when one is missing.

Used where a right is taken away: by the chart's tests with a process, by the end-to-end tests with an image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from libbucket.testing.admin import KubeAdmin

Manifest = dict[str, Any]
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


@dataclass(frozen=True, kw_only=True)
class Permission:
    """One verb on one resource, as a rule of the chart gives it.

    Attributes:
        verb: such as `list`.
        group: of the resource; empty for the core's.
        resource: in the plural, with its subresource.
        name: of the only object that the rule is about; empty for all.
    """

    verb: str
    group: str
    resource: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"

    def is_in(self, rule: Manifest) -> bool:
        return self.verb in rule["verbs"] and self.resource in rule["resources"] and self.group in rule["apiGroups"]

    def is_held(self, admin: KubeAdmin, account: str, namespace: str) -> bool:
        """Whether the API server lets an account do it.

        Args:
            admin: who asks.
            account: `namespace:name` of a service account.
            namespace: where; empty for the whole cluster.
        """
        resource, _, subresource = self.resource.partition("/")
        attributes = {
            "verb": self.verb,
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": namespace,
            "name": self.name,
        }
        spec = {"user": f"system:serviceaccount:{account}", "resourceAttributes": attributes}
        return bool(admin.create(_REVIEWS, {"spec": spec})["status"]["allowed"])

    def is_missed(self, log: str) -> bool:
        """Whether a log reports this permission, and no other, as missing."""
        resource = re.escape(self.resource)
        said = {
            rf'cannot {self.verb} resource \\*"{resource}\\*"',
            # At the start, all that is missing is said at once.
            rf"RBAC does not let this account (.*; )?{self.verb} {resource}[. ]",
            # What a claim shows of the administrator's Secret.
            rf"grant the provisioner '{self.verb}' on it" if self.resource == "secrets" else "(?!)",
            # The API server's error about the owner reference.
            r"cannot set blockOwnerDeletion" if self.resource.endswith("/finalizers") else "(?!)",
        }
        return any(re.search(pattern, log) for pattern in said)


def permissions_of(rule: Manifest) -> list[Permission]:
    """All that a rule allows."""
    (name,) = rule.get("resourceNames", [""])
    return [
        Permission(verb=verb, group=group, resource=resource, name=name)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
