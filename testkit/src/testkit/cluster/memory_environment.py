"""What the tests of a claim's life share: one namespace, one provisioner name, a store in memory, the core."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from libbucket._kube.errors import LeadershipLost
from libbucket._kube.lease import lease_name
from libbucket.testing.builders import a_claim, a_class
from libbucket.testing.in_process import core_in_process
from libbucket.testing.memory import MemoryProvisioner
from libbucket.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.provisioner import Services
    from libbucket.testing.admin import KubeAdmin
    from libbucket.testing.controlplane import Cluster

Wire = dict[str, Any]
OBC = "/apis/objectbucket.io/v1alpha1"


def condition(found: Wire | None, kind: str = "Ready") -> Wire:
    """A condition of a claim; {} where it has none of this type."""
    every = (found or {}).get("status", {}).get("conditions", [])
    return next((one for one in every if one["type"] == kind), {})


class Mortal:
    """A leadership check: counts writes and requests to the store, and refuses all after the last one allowed."""

    def __init__(self, lives: int) -> None:
        self.left = lives
        self.died = threading.Event()

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.died.set()
            raise LeadershipLost("this core has crashed")


class MemoryEnvironment:
    """A namespace with a class, and the core beside it on request."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.admin: KubeAdmin = cluster.admin
        self.namespace = namespace
        self.provisioner_name = f"{secrets.token_hex(4)}.test/bucket"
        self.label = self.provisioner_name.replace("/", "-")
        self.class_name = f"class-{secrets.token_hex(4)}"
        self.store = MemoryStore()
        self.hook: Callable[[Any, Any], None] = lambda _verb, _request: None
        self.batch: int | None = None
        self.provisioner: MemoryProvisioner | None = None

    @contextmanager
    def core(self, **settings: Any) -> Iterator[None]:
        """The core runs inside the block; a second block is a restart with the same store."""
        settings = {"provisioner_name": self.provisioner_name, **settings}
        with core_in_process(self.cluster.kubeconfig, self._build, **settings):
            yield

    def _build(self, services: Services) -> MemoryProvisioner:
        self.provisioner = MemoryProvisioner(services, store=self.store, batch=self.batch, hook=self._call_hook)
        return self.provisioner

    def _call_hook(self, verb: Any, request: Any) -> None:
        self.hook(verb, request)  # read at each call: a test may change it while the core runs

    @property
    def calls(self) -> dict[str, int]:
        """How often each verb was called since the last start."""
        return {str(verb): count for verb, count in self.provisioner.calls.items()} if self.provisioner else {}

    def make_class(self, name: str = "", **what: Any) -> str:
        """A StorageClass of our provisioner."""
        name = name or self.class_name
        what = {"provisioner": self.provisioner_name, **what}
        self.admin.create("/apis/storage.k8s.io/v1/storageclasses", a_class(name=name, **what))
        return name

    def delete_class(self, name: str = "") -> None:
        self.admin.delete(f"/apis/storage.k8s.io/v1/storageclasses/{name or self.class_name}")

    def make_lease(self, provisioner_name: str = "", *, age: float = 0.0) -> None:
        """A held Lease of a provisioner, ours by default, that was renewed so many seconds ago."""
        renewed = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        name = lease_name(provisioner_name or self.provisioner_name)
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"holderIdentity": "pod_1", "leaseDurationSeconds": 3600 if not age else 15, "renewTime": renewed},
        }
        self.admin.create(f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases", body)

    def claim(self, name: str = "photos", *, storage_class: str | None = "", namespace: str = "", **what: Any) -> Wire:
        """Makes a claim."""
        namespace = namespace or self.namespace
        storage_class = self.class_name if storage_class == "" else storage_class
        body = a_claim(name=name, namespace=namespace, storage_class=storage_class, **what)
        return self.admin.create(f"{OBC}/namespaces/{namespace}/objectbucketclaims", body)

    def claim_path(self, name: str = "photos", namespace: str = "") -> str:
        return f"{OBC}/namespaces/{namespace or self.namespace}/objectbucketclaims/{name}"

    def path(self, plural: str, name: str = "photos") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}/{name}"

    def ob_path(self, name: str = "photos", namespace: str = "") -> str:
        return f"{OBC}/objectbuckets/obc-{namespace or self.namespace}-{name}"

    def get_claim(self, name: str = "photos") -> Wire:
        return self.admin.get(self.claim_path(name))

    def wait_bound(self, name: str = "photos", namespace: str = "") -> Wire:
        """The claim, once it is Bound and Ready."""
        return self.wait_claim(
            lambda c: c["status"]["phase"] == "Bound" and condition(c).get("status") == "True", name, namespace
        )

    def wait_reason(self, reason: str, name: str = "photos", namespace: str = "") -> Wire:
        """The claim, once a condition has this reason."""
        return self.wait_claim(
            lambda c: reason in {one["reason"] for one in c["status"].get("conditions", [])}, name, namespace
        )

    def wait_claim(self, predicate: Callable[[Wire], bool], name: str = "photos", namespace: str = "") -> Wire:
        """The claim, once it is so."""
        found = self.admin.wait_for(
            self.claim_path(name, namespace),
            lambda claim: claim is not None and "phase" in claim.get("status", {}) and predicate(claim),
            timeout=20,
        )
        assert found is not None
        return found

    def until(self, is_so: Callable[[], bool], *, timeout: float = 20.0) -> None:
        """Polls: for what no single object's watch reports."""
        deadline = time.monotonic() + timeout
        while not is_so():
            assert time.monotonic() < deadline, "it did not become so"
            time.sleep(0.05)

    def delete_claim(self, name: str = "photos", *, wait: bool = True, namespace: str = "") -> None:
        self.admin.delete(self.claim_path(name, namespace))
        if wait:
            self.admin.wait_gone(self.claim_path(name, namespace), timeout=20)

    def patch_claim(self, body: Wire, name: str = "photos") -> Wire:
        return self.admin.patch(self.claim_path(name), body)

    def secret(self, name: str = "photos") -> dict[str, str]:
        """The decoded data of a claim's Secret."""
        data = self.admin.get(self.path("secrets", name)).get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def wait_event(self, kind: str, reason: str) -> None:
        """Waits for an Event about the claim: the status is written before it."""
        self.until(lambda: (kind, reason) in self.events())

    def events(self, name: str = "photos") -> list[tuple[str, str]]:
        """(type, reason) of every Event about a claim."""
        every = self.admin.items(f"/api/v1/namespaces/{self.namespace}/events")
        return [(one["type"], one["reason"]) for one in every if one["involvedObject"]["name"] == name]
