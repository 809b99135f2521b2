"""Without any one rule of the chart something fails and names the missing permission: every rule is needed.

With one store, because only the core uses the API server and the rules are the same for all backends. tests/chart
tests verb by verb, with a provisioner that runs outside an image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.cluster.memory_environment import condition
from testkit.cluster.store_environment import STORES
from testkit.container_images.installation import rendered, rules_of
from testkit.container_images.leftovers import forget_claims
from testkit.container_images.pods import wait_until

if TYPE_CHECKING:
    from testkit.cluster.store_environment import StoreEnvironment
    from testkit.container_images.installation import Installation

RULES = {
    store: [rule for _, rule in rules_of(rendered("any", "any", f"backend={store}", "image.registry=localhost"))]
    for store in STORES
}
NAMES = [" and ".join(f"{'/'.join(rule['verbs'])} {each}" for each in rule["resources"]) for rule in RULES["minio"]]


@pytest.mark.one_store
@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_log_names_the_missing_rule(number: int, environment: StoreEnvironment, installation: Installation) -> None:
    with installation.without(number) as permissions, installation.pod(ready=False) as pod:
        environment.claim("photos", environment.make_class(), generateBucketName="photos")
        environment.claim("hopeless", environment.make_class(secretName="gone"), generateBucketName="photos")
        wait_until(lambda: any(permission.is_missed(pod.log()) for permission in permissions), seconds=60)
        assert "Traceback" not in pod.log()
    forget_claims(environment.admin, environment.namespace)


@pytest.mark.one_store
def test_all_rules_together_are_sufficient(environment: StoreEnvironment, installation: Installation) -> None:
    with installation.pod() as pod:
        environment.claim("photos", environment.make_class(), generateBucketName="photos")
        environment.claim("hopeless", environment.make_class(secretName="gone"), generateBucketName="photos")
        environment.wait_bound("photos")
        hopeless = environment.wait_reason("hopeless", "AdminSecretMissing")
        environment.delete_claim("photos")
        log = pod.log()
    forget_claims(environment.admin, environment.namespace)

    assert "forbidden" not in log
    assert "RBAC" not in log
    assert condition(hopeless)["message"].startswith(f"Secret {environment.namespace}/gone, which the class names")


def test_rules_are_the_same_for_every_backend() -> None:
    without_names = [
        [{**rule, "resourceNames": len(rule.get("resourceNames", ()))} for rule in rules] for rules in RULES.values()
    ]

    assert all(rules == without_names[0] for rules in without_names)
