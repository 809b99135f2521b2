"""Each rule of the chart is taken away in turn, and what fails then names it: none is there that is not needed.

With one store, because all of Kubernetes is the core's and the rules are those of all backends. tests/chart takes the
rules apart further, verb by verb, with a provisioner that is no image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from installation import rendered, rules_of
from leftovers import forget_claims
from pods import wait_until

from testkit.cluster.memory_environment import condition
from testkit.cluster.store_environment import STORES

if TYPE_CHECKING:
    from installation import Installation

    from testkit.cluster.store_environment import StoreEnvironment

RULES = {
    store: [rule for _, rule in rules_of(rendered("any", "any", f"backend={store}", "image.registry=localhost"))]
    for store in STORES
}
NAMES = [" and ".join(f"{'/'.join(rule['verbs'])} {each}" for each in rule["resources"]) for rule in RULES["minio"]]


@pytest.mark.one_store
@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_without_a_rule_what_fails_names_it(number: int, shop: StoreEnvironment, installation: Installation) -> None:
    with installation.without(number) as rights, installation.pod(ready=False) as pod:
        shop.claim("photos", shop.make_class(), generateBucketName="photos")
        shop.claim("hopeless", shop.make_class(secretName="gone"), generateBucketName="photos")
        wait_until(lambda: any(right.is_missed(pod.log()) for right in rights), seconds=60)
        assert "Traceback" not in pod.log()
    forget_claims(shop.admin, shop.namespace)


@pytest.mark.one_store
def test_with_all_rules_nothing_is_missed(shop: StoreEnvironment, installation: Installation) -> None:
    with installation.pod() as pod:
        shop.claim("photos", shop.make_class(), generateBucketName="photos")
        shop.claim("hopeless", shop.make_class(secretName="gone"), generateBucketName="photos")
        shop.wait_bound("photos")
        hopeless = shop.wait_reason("hopeless", "AdminSecretMissing")
        shop.delete_claim("photos")
        log = pod.log()
    forget_claims(shop.admin, shop.namespace)

    assert "forbidden" not in log
    assert "RBAC" not in log
    assert condition(hopeless)["message"].startswith(f"Secret {shop.namespace}/gone, which the class names")


def test_the_rules_are_those_of_every_backend() -> None:
    without_names = [
        [{**rule, "resourceNames": len(rule.get("resourceNames", ()))} for rule in rules] for rules in RULES.values()
    ]

    assert all(rules == without_names[0] for rules in without_names)
