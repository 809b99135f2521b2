"""What the tests with MinIO share: a class for a real server, the real provisioner, and checks of both sides."""

from __future__ import annotations

import base64
import json
import secrets
import sys
from typing import TYPE_CHECKING, Any

from libbucket.testing.builders import a_claim, a_class
from libbucket.testing.provisioner_process import ProvisionerProcess, provisioner_process
from testkit.cluster.memory_environment import OBC, Wire, condition
from testkit.minio.backend import MinioAdministrator, MinioApplication
from testkit.minio.server import MinioServer, minio_binary, minio_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from libbucket.testing.controlplane import Cluster

__all__ = ["MinioEnvironment", "MinioServer", "ProvisionerProcess", "minio_binary", "minio_server"]

_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
_SECONDS = 30


class MinioEnvironment:
    """A namespace, a provisioner name of its own, and one MinIO.

    Args:
        cluster: where claims are made.
        namespace: where claims, and the administrator's Secret, are made.
        server: the MinIO.
    """

    def __init__(self, cluster: Cluster, namespace: str, server: MinioServer) -> None:
        self.cluster = cluster
        self.admin = cluster.admin
        self.namespace = namespace
        self.server = server
        self.minio = MinioAdministrator(server)
        self.provisioner_name = f"{secrets.token_hex(4)}.test/bucket"
        self._classes: list[str] = []
        self._system_policies: set[str] = set()
        self._system_policies = self.policies()

    @property
    def parameters(self) -> dict[str, str]:
        """Of a class for this server."""
        return {"endpoint": self.server.url, "secretName": "minio-admin", "secretNamespace": self.namespace}

    def make_admin_secret(self, **data: str) -> None:
        """The Secret that `parameters` name: root's credentials, unless others are given."""
        data = data or {"MINIO_ROOT_USER": self.server.user, "MINIO_ROOT_PASSWORD": self.server.password}
        self.admin.create(
            f"/api/v1/namespaces/{self.namespace}/secrets",
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "minio-admin"}, "stringData": data},
        )

    def make_class(self, *, reclaim_policy: str = "Delete", **parameters: str) -> str:
        """A StorageClass of our provisioner; `parameters` are laid over those for this server."""
        name = f"class-{secrets.token_hex(4)}"
        self._create_class(name, reclaim_policy, parameters)
        self._classes.append(name)
        return name

    def make_class_again(self, name: str, *, reclaim_policy: str = "Delete", **parameters: str) -> None:
        """Its parameters can't be edited: what an administrator does to fix them."""
        self.admin.delete(f"{_CLASSES}/{name}")
        self._create_class(name, reclaim_policy, parameters)

    def _create_class(self, name: str, reclaim_policy: str, parameters: Mapping[str, str]) -> None:
        body = a_class(
            name=name,
            provisioner=self.provisioner_name,
            reclaim_policy=reclaim_policy,
            parameters={**self.parameters, **parameters},
        )
        self.admin.create(_CLASSES, body)

    def delete_classes(self) -> None:
        for name in self._classes:
            self.admin.delete(f"{_CLASSES}/{name}")

    def provisioner(
        self,
        *flags: str,
        program: tuple[str | Path, ...] = ("-m", "minio_provisioner"),
        environment: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> AbstractContextManager[ProvisionerProcess]:
        """The provisioner as a process of its own."""
        command: list[str | Path] = [sys.executable, *program, "--provisioner-name", self.provisioner_name, *flags]
        kubeconfig = self.cluster.kubeconfig
        return provisioner_process(command, kubeconfig=kubeconfig, environment=environment, ready=ready)

    # What is in the cluster.

    def claim(self, name: str, storage_class: str, **spec: Any) -> Wire:
        """Makes a claim."""
        body = a_claim(name=name, namespace=self.namespace, storage_class=storage_class, spec=spec or None)
        return self.admin.create(f"{OBC}/namespaces/{self.namespace}/objectbucketclaims", body)

    def claims(self) -> list[Wire]:
        """All claims of the namespace."""
        return self.admin.items(f"{OBC}/namespaces/{self.namespace}/objectbucketclaims")

    def claim_path(self, name: str) -> str:
        return f"{OBC}/namespaces/{self.namespace}/objectbucketclaims/{name}"

    def path(self, plural: str, name: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}/{name}"

    def ob_path(self, name: str) -> str:
        return f"{OBC}/objectbuckets/obc-{self.namespace}-{name}"

    def wait_claim(self, name: str, predicate: Callable[[Wire], bool]) -> Wire:
        """The claim, once it is so."""
        path = self.claim_path(name)
        found = self.admin.wait_for(path, lambda claim: claim is not None and predicate(claim), timeout=_SECONDS)
        assert found is not None
        return found

    def wait_bound(self, name: str) -> Wire:
        """The claim, once it is Bound and Ready, and nothing about it is older than its last edit."""

        def is_bound(claim: Wire) -> bool:
            status = claim.get("status", {})
            return (
                status.get("phase") == "Bound"
                and condition(claim).get("status") == "True"
                and status["observedGeneration"] == claim["metadata"]["generation"]
            )

        return self.wait_claim(name, is_bound)

    def wait_event(self, name: str, kind: str, reason: str, message: str) -> None:
        """Waits for an Event about a claim whose message begins so, and sees that there is only one."""

        def fits(event: Wire) -> bool:
            return (
                event["involvedObject"]["name"] == name
                and (event["type"], event["reason"]) == (kind, reason)
                and event["message"].startswith(message)
            )

        collection = f"/api/v1/namespaces/{self.namespace}/events"
        found = self.admin.get(collection)
        count = sum(fits(event) for event in found["items"])
        if not count:
            version = found["metadata"]["resourceVersion"]
            watched = self.admin.watch(collection, resource_version=version, timeout=_SECONDS)
            count = next((1 for one in watched if one["type"] == "ADDED" and fits(one["object"])), 0)
        assert count == 1, f"{count} Events {kind} {reason} {message!r}"

    def delete_claim(self, name: str, *, wait: bool = True) -> None:
        self.admin.delete(self.claim_path(name))
        if wait:
            self.wait_gone(name)

    def wait_gone(self, name: str) -> None:
        self.admin.wait_gone(self.claim_path(name), timeout=_SECONDS)

    def secret(self, name: str) -> dict[str, str]:
        """The decoded data of a claim's Secret."""
        data = self.admin.get(self.path("secrets", name)).get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def bucket(self, name: str) -> str:
        """The bucket that a claim's ConfigMap names."""
        found: str = self.admin.get(self.path("configmaps", name))["data"]["BUCKET_NAME"]
        return found

    def objects_of(self, name: str) -> dict[str, Wire | None]:
        """Every object of a claim, None where there is none."""
        paths = (self.claim_path(name), self.ob_path(name), self.path("secrets", name), self.path("configmaps", name))
        return {path: self.admin.find(path) for path in paths}

    # What is in MinIO.

    def application(self, name: str) -> MinioApplication:
        """An application with what a claim's Secret and ConfigMap hold."""
        held, address = self.secret(name), self.admin.get(self.path("configmaps", name))["data"]
        return self.application_with(held, netloc=f"{address['BUCKET_HOST']}:{address['BUCKET_PORT']}")

    def application_with(self, held: Mapping[str, str], *, netloc: str = "") -> MinioApplication:
        """An application with these credentials."""
        return MinioApplication(
            netloc=netloc or self.server.netloc,
            secure=self.server.url.startswith("https"),
            access_key=held["AWS_ACCESS_KEY_ID"],
            secret_key=held["AWS_SECRET_ACCESS_KEY"],
            ca_bundle=self.server.ca_bundle,
        )

    def buckets(self) -> set[str]:
        return set(self.minio.application().list_all())

    def users(self) -> set[str]:
        return set(json.loads(self.minio.admin.user_list()))

    def policies(self) -> set[str]:
        """Those that did not come with the server."""
        return set(json.loads(self.minio.admin.policy_list())) - self._system_policies

    def state(self, name: str) -> dict[str, str]:
        """What a claim's ObjectBucket records about its bucket and identity."""
        spec = self.admin.get(self.ob_path(name))["spec"]
        return {"BucketName": spec["endpoint"]["bucketName"], **spec["additionalState"]}
