"""The permissions that the command line asks about are those that the documentation and the chart grant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from libbucket._cli.permissions import IN_CLUSTER, IN_NAMESPACE, LEASE

if TYPE_CHECKING:
    from pathlib import Path


def test_access_reviews_ask_for_what_the_documented_role_grants(root: Path) -> None:
    page = (root / "docs/operating.md").read_text()
    (manifest,) = re.findall(r"(?ms)^```yaml\n# rights\.yaml\n(.*?)^```$", page)
    roles = [one for one in yaml.safe_load_all(manifest) if one["kind"] in {"ClusterRole", "Role"}]
    granted = {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    asked = {
        (group, resource, verb) for group, resource, verbs in (*IN_NAMESPACE, *IN_CLUSTER, *LEASE) for verb in verbs
    }

    # --watch-secrets=false needs no list and watch; a review cannot ask for one named namespace only.
    optional = {("", "secrets", "list"), ("", "secrets", "watch"), ("", "namespaces", "get")}
    assert asked == granted - optional
