"""A namespace with claims in every state can be deleted: no finalizer remains for longer than the store is down."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from libbucket import StoreUnavailable
from testkit.cluster.memory_environment import condition

if TYPE_CHECKING:
    from testkit.cluster.memory_environment import MemoryEnvironment


def test_a_namespace_with_claims_in_every_state_is_deleted_once_its_store_is_available(
    environment: MemoryEnvironment,
) -> None:
    space = f"going-{secrets.token_hex(4)}"
    path = f"/api/v1/namespaces/{space}"
    waiting = environment.make_class(f"{environment.class_name}-w", parameters={"purgeAfter": "72h"})
    protecting = environment.make_class(f"{environment.class_name}-p", parameters={"deletionPolicy": "IfEmpty"})
    vanishing = environment.make_class(f"{environment.class_name}-v")
    environment.admin.create("/api/v1/namespaces", {"metadata": {"name": space}})
    is_down = False

    def hook(_verb: Any, _request: Any) -> None:
        if is_down:
            raise StoreUnavailable("the store is away")

    environment.hook = hook
    with environment.core():
        for name, storage_class in {
            "bound": environment.class_name,
            "waits": waiting,
            "empty": protecting,
            "classless": vanishing,
            "unclaimed": "no-such-class",
        }.items():
            environment.claim(name, namespace=space, storage_class=storage_class)
        environment.claim("failed", namespace=space, spec={"bucketName": "NOT A NAME"})
        for name in ("bound", "waits", "empty", "classless"):
            environment.wait_bound(name, space)
        environment.wait_reason("InvalidClaim", "failed", space)
        environment.admin.create(f"{path}/secrets", {"metadata": {"name": "conflict"}})
        environment.claim("conflict", namespace=space)
        environment.wait_reason("SecretConflict", "conflict", space)
        environment.delete_class(vanishing)
        is_down = True
        environment.claim("pending", namespace=space)
        environment.wait_reason("StoreUnavailable", "pending", space)
        environment.admin.delete(path)
        environment.admin.wait_gone(
            environment.claim_path("pending", space), timeout=20
        )  # the store was never called for it
        for name in ("bound", "waits", "empty", "classless", "failed"):
            environment.wait_claim(
                lambda c: "deletionTimestamp" in c["metadata"] and condition(c).get("message") == "the store is away",
                name,
                space,
            )
        is_down = False
        environment.admin.wait_gone(path, timeout=60)
        environment.admin.delete(environment.ob_path("waits", space))
        environment.admin.wait_gone(environment.ob_path("waits", space), timeout=20)
    assert not environment.store.buckets
    assert not environment.store.identities
    environment.delete_class(waiting)
    environment.delete_class(protecting)
