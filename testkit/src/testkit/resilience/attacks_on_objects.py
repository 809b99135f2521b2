"""What a tenant tries with the Secret and ConfigMap of a claim: being there first, lies about owners, other content."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from testkit.resilience.proxied_environment import STORE
from testkit.resilience.tenant_environment import Attack, is_bound, trap
from testkit.resilience.trials import eventually

if TYPE_CHECKING:
    from testkit.cluster.memory_environment import Wire
    from testkit.resilience.tenant_environment import Tenant, TenantEnvironment

_OWNER: Final = {
    "apiVersion": "objectbucket.io/v1alpha1",
    "kind": "ObjectBucketClaim",
    "controller": True,
    "blockOwnerDeletion": True,
}
_REASONS: Final = {"secrets": "SecretConflict", "configmaps": "ConfigMapConflict"}


def be_there_first(tenants: TenantEnvironment, plural: str, *, owner: str) -> str:
    """An object of the claim's name is there before the claim, and it has no owner, or a forged one.

    Args:
        tenants: where.
        plural: `secrets` or `configmaps`.
        owner: uid of the claim that it says is its controller; empty for none, `victim` for the victim's.
    """
    thief = tenants.thief
    uid = tenants.victim_claim["metadata"]["uid"] if owner == "victim" else owner
    # Finalizers keep the garbage collector from taking away what names an owner that it can't find.
    metadata: dict[str, Any] = {"name": "first", "labels": {"bucket-provisioner": _label(tenants)}}
    if uid:
        metadata |= {"ownerReferences": [{**_OWNER, "name": "first", "uid": uid}], "finalizers": ["example.com/keep"]}
    before = thief.admin.create(thief.path(plural), {"metadata": metadata, "data": _data(plural)})
    thief.claim("first")
    thief.wait_reason("first", _REASONS[plural])
    now = thief.admin.get(thief.path(plural, "first"))
    assert now["data"] == before["data"], "it was overwritten"
    thief.admin.patch(thief.path(plural, "first"), {"metadata": {"finalizers": None}})
    thief.admin.delete(thief.path(plural, "first"))
    tenants.assert_own_only(thief.wait_bound("first"))
    return f"{_REASONS[plural]}, left as it was; the claim bound when it was gone"


def own_it_truly(tenants: TenantEnvironment) -> str:
    """The owner is the claim itself: its author decides. Keys that are not ours stay, and have no effect."""
    thief = tenants.thief
    _block(tenants, thief)
    thief.admin.patch(thief.path("secrets", "mine"), {"metadata": {"ownerReferences": [_true_owner(thief)]}})
    bound = thief.wait_bound("mine")
    tenants.assert_own_only(bound)
    assert "MINE" in bound.environment, "keys of others are left alone"
    return "taken for the claim's own; it holds the claim's credentials, and the author's own key"


def own_it_and_freeze_it(tenants: TenantEnvironment) -> str:
    """As above with `immutable`: no key can be stored, and none may pile up."""
    thief, store = tenants.thief, tenants.environment.store
    _block(tenants, thief, immutable=True)
    before = store.census()
    thief.admin.patch(thief.path("secrets", "mine"), {"metadata": {"ownerReferences": [_true_owner(thief)]}})
    thief.wait_reason("mine", "RejectedByCluster")
    thief.patch("mine", {"metadata": {"annotations": {"example.com/again": "1"}}})
    thief.patch("mine", {"spec": {"additionalConfig": {"again": "1"}}})
    eventually(lambda: _assert_seen(thief), seconds=20)
    kinds = [each.partition(" ")[0] for each in store.census() - before]
    assert kinds.count("key") <= 1, f"keys pile up: {kinds}"
    thief.admin.delete(thief.path("secrets", "mine"))
    tenants.assert_own_only(thief.wait_bound("mine"))
    return "RejectedByCluster; one key at most; bound when it was gone"


def put_in_anothers_credentials(tenants: TenantEnvironment) -> str:
    """The Secret of one claim is filled with what another claim of the same tenant has."""
    thief = tenants.thief
    first, second = tenants.bind_control("one"), tenants.bind_control("two")
    other = thief.admin.get(thief.path("secrets", "two"))["data"]
    thief.admin.patch(thief.path("secrets", "one"), {"data": other})
    eventually(lambda: _assert_restored(thief, "one", other), seconds=40)
    again = thief.wait_bound("one")
    tenants.assert_own_only(again)
    assert tenants.environment.is_refused(again, second.bucket)
    tenants.environment.assert_works(second)
    thief.delete("one")
    tenants.assert_shut_out(first)
    tenants.assert_shut_out(again)
    tenants.environment.assert_works(second)
    return "restored with its own; deleting it left the other's"


def put_in_an_address(tenants: TenantEnvironment) -> str:
    """Every address in Secret and ConfigMap leads to the tenant now: what the provisioner reads there, it may try."""
    thief, proxy = tenants.thief, tenants.environment.proxies[STORE].url
    tenants.bind_control("mine")
    with trap() as there:
        secret, config_map = thief.secret("mine"), thief.config_map("mine")
        poisoned = {
            key: base64.b64encode(value.replace(proxy, there.url).encode()).decode() for key, value in secret.items()
        }
        thief.admin.patch(thief.path("secrets", "mine"), {"data": poisoned})
        led = {key: value.replace(proxy, there.url) for key, value in config_map.items()}
        thief.admin.patch(thief.path("configmaps", "mine"), {"data": led | {"BUCKET_NAME": tenants.victim.bucket}})
        eventually(lambda: _assert_says(thief, there.url), seconds=40)
        tenants.assert_own_only(thief.wait_bound("mine"))
        there.assert_untouched()
    return "restored; no connection to the address"


def _block(tenants: TenantEnvironment, thief: Tenant, *, immutable: bool = False) -> None:
    body: Wire = {"metadata": {"name": "mine"}, "data": _data("secrets")}
    if immutable:
        body["immutable"] = True
    thief.admin.create(thief.path("secrets"), body)
    thief.claim("mine")
    thief.wait_reason("mine", "SecretConflict")
    assert thief.secret("mine") == {"MINE": "mine"}
    tenants.environment.assert_other_tenant_unaffected()


def _true_owner(thief: Tenant) -> Wire:
    return {**_OWNER, "blockOwnerDeletion": False, "name": "mine", "uid": thief.get("mine")["metadata"]["uid"]}


def _assert_seen(thief: Tenant) -> None:
    claim = thief.get("mine")
    assert claim.get("status", {}).get("observedGeneration") == claim["metadata"]["generation"]


def _assert_restored(thief: Tenant, name: str, other: dict[str, str]) -> None:
    now = thief.admin.get(thief.path("secrets", name)).get("data", {})
    assert now != other, "the Secret still holds another claim's credentials"
    assert is_bound(thief.get(name))


def _assert_says(thief: Tenant, url: str) -> None:
    found = [*thief.secret("mine").values(), *thief.config_map("mine").values()]
    assert not any(url in each for each in found), "the address is still there"
    assert thief.config_map("mine")["BUCKET_NAME"] == thief.get("mine")["spec"]["bucketName"]


def _label(tenants: TenantEnvironment) -> str:
    return tenants.environment.provisioner_name.replace("/", "-")


def _data(plural: str) -> dict[str, str]:
    return {"MINE": "bWluZQ==" if plural == "secrets" else "mine"}


_NO_CLAIM: Final = "00000000-0000-0000-0000-000000000000"

ATTACKS: Final = (
    *(
        Attack(
            name=f"{plural}-first{word}",
            expected=f"{reason}; left as it is",
            run=partial(be_there_first, plural=plural, owner=owner),
            once=bool(word),
            quick=plural == "secrets" and not word,
        )
        for plural, reason in _REASONS.items()
        for word, owner in (("", ""), ("-with-a-lie", _NO_CLAIM), ("-of-the-neighbour", "victim"))
    ),
    Attack(name="secret-truly-owned", expected="the claim's own, and written as such", run=own_it_truly, once=True),
    Attack(name="secret-frozen", expected="the claim waits; no keys pile up", run=own_it_and_freeze_it),
    Attack(
        name="secret-with-anothers-credentials",
        expected="not adopted: restored",
        run=put_in_anothers_credentials,
        quick=True,
    ),
    Attack(name="secret-with-an-address", expected="not followed: restored", run=put_in_an_address),
)
