"""Tenant environment: a proxied environment, a tenant that attacks, another tenant, and traps.

The tenants are users of the API server who may edit claims, Secrets, ConfigMaps and Events in one namespace of their
own, and nothing else. The victim is a third tenant, with a bucket and data; nothing of it may change, whatever the
tenants do. Knows `ProxiedEnvironment`; knows no attack and no store.
"""

from __future__ import annotations

import base64
import secrets
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from kubernetes.client.exceptions import ApiException

from libbucket.testing.admin import KubeAdmin
from libbucket.testing.application import Refused
from libbucket.testing.builders import a_claim
from testkit.cluster.memory_environment import OBC, Wire, condition
from testkit.resilience.trials import Violation, eventually
from testkit.stores.base import Bound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket.testing.controlplane import ControlPlane
    from testkit.resilience.proxied_environment import ProxiedEnvironment, Snapshot

SECONDS: Final = 120.0
"""How long anything may take on a machine that has much else to do: what is measured is measured elsewhere."""
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
_EDITS: Final = ["get", "list", "watch", "create", "update", "patch", "delete"]
_RULES: Final = [
    {"apiGroups": ["objectbucket.io"], "resources": ["objectbucketclaims", "objectbucketclaims/status"]},
    {"apiGroups": [""], "resources": ["secrets", "configmaps", "events"]},
]
"""Also the status of claims, which a careful operator would not grant: a stricter role is safer."""


class Tenant:
    """A user who may edit one namespace.

    Args:
        environment: where the claims are made.
        cluster: gives out the user.
        namespace: theirs, made now.
    """

    def __init__(self, environment: ProxiedEnvironment, cluster: ControlPlane, namespace: str) -> None:
        self.environment = environment
        self.namespace = namespace
        user = f"tenant-{namespace}"
        environment.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        rules = [{**rule, "verbs": _EDITS} for rule in _RULES]
        environment.admin.create(
            f"{_RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": "editor"}, "rules": rules}
        )
        who = {"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}
        role = {"kind": "Role", "name": "editor", "apiGroup": "rbac.authorization.k8s.io"}
        binding = {"metadata": {"name": "editor"}, "subjects": [who], "roleRef": role}
        environment.admin.create(f"{_RBAC}/namespaces/{namespace}/rolebindings", binding)
        self.admin = KubeAdmin(cluster.user_kubeconfig(user))

    def claim(
        self, name: str, kind: str = "greenfield", *, metadata: Mapping[str, Any] | None = None, **spec: Any
    ) -> Wire:
        """Makes a claim of one of the environment's classes."""
        return self.claim_of(name, self.environment.classes[kind], metadata=metadata, **spec)

    def claim_of(
        self, name: str, storage_class: str, *, metadata: Mapping[str, Any] | None = None, **spec: Any
    ) -> Wire:
        """Makes a claim of any class."""
        wanted = {"generateBucketName": name} | spec
        body = a_claim(
            name=name, namespace=self.namespace, storage_class=storage_class, spec=wanted, **(metadata or {})
        )
        return self.admin.create(self.claims, body)

    @property
    def claims(self) -> str:
        """Where its claims are."""
        return f"{OBC}/namespaces/{self.namespace}/objectbucketclaims"

    def claim_path(self, name: str) -> str:
        """Where a claim is."""
        return f"{self.claims}/{name}"

    def path(self, plural: str, name: str = "") -> str:
        """Where a Secret or ConfigMap is, or all of them."""
        return f"/api/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def get(self, name: str) -> Wire:
        """A claim."""
        return self.admin.get(self.claim_path(name))

    def wait(self, name: str, predicate: Callable[[Wire], bool], *, seconds: float = SECONDS) -> Wire:
        """A claim, once it is so."""
        path = self.claim_path(name)
        found = self.admin.wait_for(path, lambda one: one is not None and predicate(one), timeout=seconds)
        assert found is not None
        return found

    def wait_reason(self, name: str, *reasons: str) -> Wire:
        """A claim, once one of its conditions gives one of these reasons."""
        return self.wait(name, lambda one: bool(reasons_of(one) & set(reasons)))

    def wait_bound(self, name: str, *, seconds: float = SECONDS) -> Bound:
        """What a bound claim is to an application."""
        claim = self.wait(name, is_bound, seconds=seconds)
        ob = self.environment.admin.get(f"{OBC}/objectbuckets/{claim['spec']['objectBucketName']}")
        state = ob["spec"].get("additionalState", {})
        return Bound(name=name, environment=self.secret(name) | self.config_map(name), state=state)

    def secret(self, name: str) -> dict[str, str]:
        """Decoded data of a Secret."""
        data = self.admin.get(self.path("secrets", name)).get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def config_map(self, name: str) -> dict[str, str]:
        """Data of a ConfigMap."""
        data: dict[str, str] = self.admin.get(self.path("configmaps", name)).get("data", {})
        return data

    def events(self, name: str) -> list[Wire]:
        """The Events about a claim."""
        found = self.admin.items(self.path("events"))
        return [each for each in found if each["involvedObject"]["name"] == name]

    def patch(self, name: str, body: Wire) -> Wire:
        """Edits a claim."""
        return self.admin.patch(self.claim_path(name), body)

    def delete(self, name: str, *, seconds: float = SECONDS) -> None:
        """Deletes a claim and waits until it is gone."""
        self.admin.delete(self.claim_path(name))
        self.admin.wait_gone(self.claim_path(name), timeout=seconds)

    def clean_up(self, *, seconds: float = SECONDS) -> None:
        """Deletes all that it has, as its owner would."""
        names = [each["metadata"]["name"] for each in self.admin.items(self.claims)]
        for name in names:
            self.admin.delete(self.claim_path(name))
        for name in names:
            self.admin.wait_gone(self.claim_path(name), timeout=seconds)
        for plural in ("secrets", "configmaps", "events"):
            for each in self.admin.items(self.path(plural)):
                self._remove(self.path(plural, each["metadata"]["name"]), each)

    def _remove(self, path: str, found: Wire) -> None:
        with suppress(ApiException):
            if found["metadata"].get("finalizers"):
                self.admin.patch(path, {"metadata": {"finalizers": None}})
            self.admin.delete(path)


class Trap:
    """An address that no process has a reason to connect to; use `trap`.

    Attributes:
        url: `http://127.0.0.1:PORT`.
        visits: how many connections there were.
    """

    def __init__(self, listening: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.visits = 0

    def assert_untouched(self) -> None:
        """Fails if there was a connection."""
        assert not self.visits, f"{self.visits} connections to the address that the tenant wrote"


@contextmanager
def trap() -> Iterator[Trap]:
    """Listens until the block ends, and closes every connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = Trap(listening)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    visitor, _ = listening.accept()
                    made.visits += 1
                    visitor.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield made
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(SECONDS)


class TenantEnvironment:
    """One store's proxied environment with tenants in it.

    Args:
        environment: the proxied environment.
        cluster: its control plane.
        metrics_url: where the provisioner answers with its metrics.
    """

    def __init__(self, environment: ProxiedEnvironment, cluster: ControlPlane, *, metrics_url: str) -> None:
        self.environment = environment
        self.metrics_url = metrics_url
        self.cluster = cluster
        namespace = f"n-{secrets.token_hex(3)}"
        self.thief = Tenant(environment, cluster, namespace)
        # Claims `b-x` of the one and `x` of the other want the same name for their ObjectBuckets.
        self.other = Tenant(environment, cluster, f"{namespace}-b")

    @property
    def victim(self) -> Bound:
        """The tenant that is attacked."""
        return self.environment.other_tenant

    @cached_property
    def victim_claim(self) -> Wire:
        """Its claim."""
        return self.environment.admin.get(self.environment.claim_path(self.victim.name))

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Fails unless the snapshot, with its resource versions, is as it was once the tenants' claims are deleted."""
        before = self.environment.snapshot()
        try:
            yield
        except BaseException as error:
            self._give_up(error)
            raise
        self._clean_up()
        eventually(lambda: self._assert_as_before(before), seconds=SECONDS / 2)

    def close(self) -> None:
        """Ends the tenants' connections."""
        for tenant in (self.thief, self.other):
            tenant.admin.close()

    def _clean_up(self) -> None:
        for tenant in (self.thief, self.other):
            tenant.clean_up(seconds=SECONDS)

    def _give_up(self, error: BaseException) -> None:
        process = self.environment.provisioner_process
        if process is not None:
            error.add_note("the provisioner's log ends with:\n  " + "\n  ".join(process.log().splitlines()[-12:]))
        with suppress(Exception):  # the first error is the one that counts
            self._clean_up()

    def _assert_as_before(self, before: Snapshot) -> None:
        now = self.environment.snapshot()
        assert now.store >= before.store, f"the store lost {sorted(before.store - now.store)}"
        assert now.store == before.store, f"left in the store: {sorted(now.store - before.store)}"
        changed = {path for path in before.cluster if now.cluster.get(path) != before.cluster[path]}
        assert not changed, f"objects of others were changed: {sorted(changed)}"
        new = now.cluster.keys() - before.cluster.keys()
        assert not new, f"left in the cluster: {sorted(new)}"
        self.environment.assert_other_tenant_unaffected()

    # Checks that several attacks share.

    def assert_own_only(self, bound: Bound) -> None:
        """A claim has a bucket of its own that works, can access no other, and has no other tenant's credentials."""
        handed_out = set(self.environment.store.admin_secret.values()) & set(bound.environment.values())
        assert not handed_out, "the claim holds the administrator's credentials"
        assert bound.bucket != self.victim.bucket, "the claim got the victim's bucket"
        self.environment.assert_works(bound)

    def assert_shut_out(self, bound: Bound) -> None:
        """Credentials that were withdrawn do nothing any more."""
        application = self.environment.store.application(bound)
        for what, request in (
            ("read", lambda: application.get(bound.bucket, "mine")),
            ("write", lambda: application.put(bound.bucket, "mine", b"x")),
            ("list", lambda: application.list_keys(bound.bucket)),
        ):
            try:
                request()
            except Refused:
                continue
            raise Violation(f"withdrawn credentials still {what}")

    def bind_control(self, name: str = "control", **spec: Any) -> Bound:
        """Control for a refusal: an ordinary claim of the same tenant binds, and has its own bucket."""
        self.thief.claim(name, **spec)
        bound = self.thief.wait_bound(name)
        self.assert_own_only(bound)
        return bound


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One attack of a tenant.

    Attributes:
        name: for seeds and the table.
        expected: what must be seen, in one short sentence.
        run: tries it, and gives in one short sentence what was seen.
        once: whether it is about the cluster only, so that one store is enough.
        quick: whether it is of the sample that every run of the tests takes: a few seconds, and much to lose.
    """

    name: str
    expected: str
    run: Callable[[TenantEnvironment], str]
    once: bool = False
    quick: bool = False


def reasons_of(claim: Wire) -> set[str]:
    """The reasons that a claim's conditions give."""
    return {each["reason"] for each in claim.get("status", {}).get("conditions", [])}


def is_bound(claim: Wire) -> bool:
    """Whether a claim is Bound and Ready."""
    return bool(claim.get("status", {}).get("phase") == "Bound" and condition(claim).get("status") == "True")


def assert_refused_by_cluster(what: str, request: Callable[[], object], *, status: int = 403) -> None:
    """Fails unless the API server refuses it so."""
    try:
        request()
    except ApiException as error:
        if error.status != status:
            raise
    else:
        raise Violation(f"{what} was not refused")
