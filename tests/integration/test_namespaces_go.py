"""A namespace with claims in every state can be deleted: none is held up by us for longer than its store is down."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from libbucket import StoreUnavailable
from testkit.cluster.memory_environment import condition

if TYPE_CHECKING:
    from testkit.cluster.memory_environment import MemoryEnvironment


def test_a_namespace_with_claims_in_every_state_goes_once_its_store_is_back(world: MemoryEnvironment) -> None:
    space = f"going-{secrets.token_hex(4)}"
    path = f"/api/v1/namespaces/{space}"
    waiting = world.make_class(f"{world.class_name}-w", parameters={"purgeAfter": "72h"})
    protecting = world.make_class(f"{world.class_name}-p", parameters={"deletionPolicy": "IfEmpty"})
    vanishing = world.make_class(f"{world.class_name}-v")
    world.admin.create("/api/v1/namespaces", {"metadata": {"name": space}})
    is_down = False

    def hook(_verb: Any, _request: Any) -> None:
        if is_down:
            raise StoreUnavailable("the store is away")

    world.hook = hook
    with world.core():
        for name, storage_class in {
            "bound": world.class_name,
            "waits": waiting,
            "empty": protecting,
            "classless": vanishing,
            "unclaimed": "no-such-class",
        }.items():
            world.claim(name, namespace=space, storage_class=storage_class)
        world.claim("failed", namespace=space, spec={"bucketName": "NOT A NAME"})
        for name in ("bound", "waits", "empty", "classless"):
            world.wait_bound(name, space)
        world.wait_reason("InvalidClaim", "failed", space)
        world.admin.create(f"{path}/secrets", {"metadata": {"name": "conflict"}})
        world.claim("conflict", namespace=space)
        world.wait_reason("SecretConflict", "conflict", space)
        world.delete_class(vanishing)
        is_down = True
        world.claim("pending", namespace=space)
        world.wait_reason("StoreUnavailable", "pending", space)
        world.admin.delete(path)
        world.admin.wait_gone(world.claim_path("pending", space), timeout=20)  # the store was never asked for it
        for name in ("bound", "waits", "empty", "classless", "failed"):
            world.wait_claim(
                lambda c: "deletionTimestamp" in c["metadata"] and condition(c).get("message") == "the store is away",
                name,
                space,
            )
        is_down = False
        world.admin.wait_gone(path, timeout=60)
        world.admin.delete(world.ob_path("waits", space))
        world.admin.wait_gone(world.ob_path("waits", space), timeout=20)
    assert not world.store.buckets
    assert not world.store.identities
    world.delete_class(waiting)
    world.delete_class(protecting)
