"""One store, a namespace, and its real provisioner, with a proxy on either side of it that can inject faults.

                 cluster proxy            store proxy
    API server  <-------------  provisioner  ------->  store

Built on `StoreEnvironment`, by which the integration tests know a store. Adds the proxies, processes that start fast
and are killed on command, and a snapshot of cluster and store. Knows no store, and no trial.
"""

from __future__ import annotations

import re
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from libbucket.testing.application import Refused
from libbucket.testing.controlplane import control_plane
from libbucket.testing.kubeconfigs import User, write_kubeconfig
from libbucket.testing.processes import fresh_directory
from testkit.cluster.memory_environment import OBC
from testkit.cluster.store_environment import STORES, StoreEnvironment
from testkit.repository import CRDS
from testkit.resilience.fork_server import Child, ForkServer, fork_server
from testkit.resilience.proxy import FaultInjector, Proxy, Request, proxy_before
from testkit.stores.base import Bound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from libbucket.testing.controlplane import Cluster, ControlPlane
    from testkit.stores.base import Store

CLUSTER, STORE = "cluster", "store"
_OTHER_TENANT, _KEY, _DATA = "other-tenant", "kept", b"of another tenant"
_QUESTIONS = ("/selfsubjectaccessreviews", "/leases")
_OBJECT = re.compile(r"/(secrets|configmaps|objectbucketclaims|objectbuckets)/[^/]+$")


def is_step(request: Request) -> bool:
    """Whether a request belongs to the work on a claim: not to starting, watching or leading.

    Every request to the store does; of those to the API server, every write and every read of one object.
    """
    if request.proxy == STORE:
        return True
    path = request.path
    if request.method == "GET":
        return bool(_OBJECT.search(path))
    return not any(word in path for word in _QUESTIONS)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything outside the provisioner that could be lost, left or changed.

    Attributes:
        store: `Store.census`.
        cluster: path of every object of ours in the cluster -> its resource version.
    """

    store: frozenset[str]
    cluster: Mapping[str, str]


class ProxiedEnvironment(StoreEnvironment):
    """The environment of one store's trials. Use `proxied_environment`.

    Args:
        cluster: where claims are made.
        namespace: of claims and of the administrator's Secret.
        name: of the store.
        store: it, with parameters that lead through `proxies`.
        proxies: by name, `CLUSTER` and `STORE`.
        fork_server: forks provisioners.

    Attributes:
        provisioner_process: the one that runs now.
        flags: of every provisioner that is started.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        store: Store,
        proxies: Mapping[str, Proxy],
        fork_server: ForkServer,
    ) -> None:
        super().__init__(cluster, namespace, name, store)
        self.proxies = proxies
        self.fork_server = fork_server
        self.name = name
        self.provisioner_process: Child | None = None
        self.flags = ["--bind-address", "", "--allow-additional-config", store.config[0], "-v", "4"]
        self._count = 0

    def open(self) -> None:
        """Makes what trials share: the administrator's Secret, classes, an old bucket, and another tenant's claim."""
        super().open()
        self._old_bucket = f"{self.namespace}-old"
        self.store.make_bucket(self._old_bucket)
        self.start()
        self.claim(_OTHER_TENANT, self.classes["greenfield"], generateBucketName="other-tenant")
        bound = self.wait_bound(_OTHER_TENANT)
        self.store.application(bound).put(bound.bucket, _KEY, _DATA)

    @cached_property
    def classes(self) -> Mapping[str, str]:
        """By what a claim of that class gets."""
        return {
            "greenfield": self.make_class(),
            "retain": self.make_class(reclaim_policy="Retain"),
            "brownfield": self.make_class("brownfield-class.yaml", bucketName=self._old_bucket),
        }

    @cached_property
    def kubeconfig(self) -> Path:
        """Leads through the cluster's proxy, with an administrator's permissions."""
        return self.account_kubeconfig("provisioner", self.proxies[CLUSTER].url)

    def account_kubeconfig(self, name: str, url: str) -> Path:
        """Of a service account that is made for it, with an administrator's permissions, by way of `url`."""
        account = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
        self.admin.create(account, {"metadata": {"name": name}})
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self.namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        body = {"metadata": {"name": f"{self.namespace}-{name}"}, "roleRef": role, "subjects": [subject]}
        self.admin.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", body)
        answer = self.admin.create(f"{account}/{name}/token", {"spec": {"expirationSeconds": 86400}})
        path = self.cluster.directory / f"kubeconfig-{self.namespace}-{name}"
        user = User(token=answer["status"]["token"])
        return write_kubeconfig(path, url=url, ca=b"", user=user)

    # The provisioner.

    def start(self, *flags: str) -> Child:
        """Starts a provisioner, which becomes the one that runs."""
        argv = ["--kubeconfig", str(self.kubeconfig), "--provisioner-name", self.provisioner_name]
        self.provisioner_process = self.fork_server.start([*argv, *self.flags, *flags])
        return self.provisioner_process

    def kill(self) -> None:
        """SIGKILL to the one that runs, if one does."""
        if self.provisioner_process is not None:
            self.provisioner_process.kill()

    def ensure_running(self) -> None:
        """Starts a provisioner where none runs."""
        if self.provisioner_process is None or not self.provisioner_process.is_running:
            self.start()

    @contextmanager
    def injecting(self, injector: FaultInjector) -> Iterator[None]:
        """Both proxies use `injector`, until the block ends."""
        for each in self.proxies.values():
            each.injector = injector
        try:
            yield
        finally:
            for each in self.proxies.values():
                each.injector = FaultInjector()

    # Snapshots and checks.

    def new_name(self) -> str:
        """For a claim: never given twice."""
        self._count += 1
        return f"c{self._count}"

    def snapshot(self) -> Snapshot:
        """A snapshot of the cluster and the store."""
        inside = f"/api/v1/namespaces/{self.namespace}"
        collections = [f"{OBC}/namespaces/{self.namespace}/objectbucketclaims", f"{OBC}/objectbuckets"]
        collections += [f"{inside}/secrets", f"{inside}/configmaps"]
        found = {
            f"{path.rpartition('/')[2]}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
            for path in collections
            for each in self.admin.items(path)
            if self._is_ours(each)
        }
        return Snapshot(store=self.store.census(), cluster=found)

    def _is_ours(self, found: dict[str, Any]) -> bool:
        metadata = found["metadata"]
        label = metadata.get("labels", {}).get("bucket-provisioner")
        # All that is in the namespace is this environment's; ObjectBuckets are in none.
        return "namespace" in metadata or bool(label == self.provisioner_name.replace("/", "-"))

    def as_bound(self, name: str) -> Bound:
        """What a claim is to an application now, bound or not."""
        claim = self.admin.get(self.claim_path(name))
        ob = self.admin.get(f"{OBC}/objectbuckets/{claim['spec']['objectBucketName']}")
        environment = self.secret(name) | self.config_map(name)
        return Bound(name=name, environment=environment, state=ob["spec"].get("additionalState", {}))

    def assert_works(self, bound: Bound) -> None:
        """Its credentials reach its bucket, and not the other tenant's."""
        application, theirs = self.store.application(bound), self.other_tenant
        application.put(bound.bucket, "mine", b"data")
        assert application.get(bound.bucket, "mine") == b"data", "the claim's credentials don't work"
        assert self.is_refused(bound, theirs.bucket), "the claim's credentials reach the other tenant's bucket"

    def is_refused(self, bound: Bound, bucket: str) -> bool:
        """Whether its credentials can't read there."""
        try:
            self.store.application(bound).get(bucket, _KEY)
        except Refused:
            return True
        return False

    def assert_other_tenant_unaffected(self) -> None:
        """The other tenant's credentials and data are as they were."""
        bound = self.other_tenant
        assert self.store.application(bound).get(bound.bucket, _KEY) == _DATA, "the other tenant lost its data"

    @cached_property
    def other_tenant(self) -> Bound:
        """A claim that exists during all trials, and must not be affected."""
        return self.wait_bound(_OTHER_TENANT)


@contextmanager
def proxied_environment(
    cluster: Cluster, name: str, *, start: Callable[[], AbstractContextManager[Store]] | None = None
) -> Iterator[ProxiedEnvironment]:
    """Starts a store, its proxies and the fork server, and opens the environment; ends all with the block.

    Args:
        cluster: where claims are made.
        name: of the store.
        start: starts it in another way than usual.
    """
    namespace = f"chaos-{secrets.token_hex(4)}"
    cluster.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    with (
        fresh_directory("chaos-") as directory,
        (start or STORES[name])() as store,
        proxy_before(CLUSTER, cluster.url, ca_path=cluster.ca_path) as to_cluster,
        proxy_before(STORE, _origin(store.address)) as to_store,
        fork_server(store.module, directory) as forks,
    ):
        store.parameters = _led(store.parameters, store.address, to_store.url)
        store.admin_secret = _led(store.admin_secret, store.address, to_store.url)
        made = ProxiedEnvironment(cluster, namespace, name, store, {CLUSTER: to_cluster, STORE: to_store}, forks)
        made.open()
        yield made


@contextmanager
def own_cluster(**settings: Any) -> Iterator[ControlPlane]:
    """A control plane with our CRDs, for tests that must not share one."""
    with control_plane(crds=[CRDS], **settings) as cluster:
        yield cluster


def _led(values: Mapping[str, str], address: str, url: str) -> dict[str, str]:
    """The values with the store's address replaced by its proxy's."""
    return {key: value.replace(_origin(address), url) for key, value in values.items()}


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
