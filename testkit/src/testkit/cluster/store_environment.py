"""One running store with its real provisioner, on a real API server: what the tests of every store share.

Knows the cluster's side and `Store`, the interface by which the demo knows a store; knows no store.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from libbucket.testing.builders import a_claim
from libbucket.testing.provisioner_process import ProvisionerProcess, provisioner_process
from testkit.cluster.memory_environment import OBC, Wire, condition
from testkit.repository import ROOT
from testkit.stores import STORES
from testkit.stores.base import Bound, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from libbucket.testing.controlplane import Cluster

__all__ = ["STORES", "Store", "StoreEnvironment"]

_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
_SECONDS = 60


class StoreEnvironment:
    """A namespace with the administrator's Secret, and classes as the examples write them.

    Args:
        cluster: where claims are made.
        namespace: of claims and of the administrator's Secret.
        name: of the store, as `STORES` and the folder of its examples have it.
        store: it.
    """

    def __init__(self, cluster: Cluster, namespace: str, name: str, store: Store) -> None:
        self.cluster = cluster
        self.admin = cluster.admin
        self.namespace = namespace
        self.store = store
        self.provisioner_name = f"{secrets.token_hex(4)}.test/bucket"
        self._examples = ROOT / "examples" / name
        self._classes: list[str] = []

    def open(self) -> None:
        """Makes the administrator's Secret."""
        self.make_admin_secret("admin", self.store.admin_secret)

    def make_admin_secret(self, name: str, data: Mapping[str, str]) -> None:
        """A Secret that a class can name."""
        body = {"metadata": {"name": name}, "stringData": dict(data)}
        self.admin.create(f"/api/v1/namespaces/{self.namespace}/secrets", body)

    def close(self) -> None:
        """Takes the classes away; the namespace goes with its fixture."""
        for name in self._classes:
            self.admin.delete(f"{_CLASSES}/{name}")

    def make_class(self, file: str = "class.yaml", *, reclaim_policy: str = "", **parameters: str) -> str:
        """A class of the examples, for this store and provisioner; what is given is laid over the file's."""
        body = self.example(file)
        body |= {"reclaimPolicy": reclaim_policy} if reclaim_policy else {}
        name = f"class-{secrets.token_hex(4)}"
        body["metadata"] = {"name": name}
        body["provisioner"] = self.provisioner_name
        where = {"secretName": "admin", "secretNamespace": self.namespace}
        body["parameters"] |= {**self.store.parameters, **where, **parameters}
        self.admin.create(_CLASSES, body)
        self._classes.append(name)
        return name

    def provisioner(self, *flags: str) -> AbstractContextManager[ProvisionerProcess]:
        """The real provisioner as a process of its own."""
        program = Path(sys.executable).with_name(self.store.program)
        command: list[str | Path] = [program, "--provisioner-name", self.provisioner_name, *flags]
        kubeconfig = self.cluster.kubeconfig
        return provisioner_process(command, kubeconfig=kubeconfig, name=self.store.program)

    def claim(self, name: str, storage_class: str, **spec: Any) -> Wire:
        """Makes a claim."""
        body = a_claim(name=name, namespace=self.namespace, storage_class=storage_class, spec=spec or None)
        return self.admin.create(f"{OBC}/namespaces/{self.namespace}/objectbucketclaims", body)

    def example(self, file: str) -> Wire:
        """The content of a file of the store's examples."""
        body: Wire = yaml.safe_load((self._examples / file).read_text())
        return body

    def claim_path(self, name: str) -> str:
        return f"{OBC}/namespaces/{self.namespace}/objectbucketclaims/{name}"

    def wait_claim(self, name: str, predicate: Callable[[Wire], bool]) -> Wire:
        """The claim, once it is so."""
        path = self.claim_path(name)
        found = self.admin.wait_for(path, lambda claim: claim is not None and predicate(claim), timeout=_SECONDS)
        assert found is not None
        return found

    def wait_bound(self, name: str) -> Bound:
        """What a bound claim is to an application and to an administrator."""
        claim = self.wait_claim(name, lambda one: condition(one).get("status") == "True")
        ob = self.admin.get(f"{OBC}/objectbuckets/{claim['spec']['objectBucketName']}")
        environment = self.secret(name) | self.config_map(name)
        return Bound(name=name, environment=environment, state=ob["spec"].get("additionalState", {}))

    def wait_reason(self, name: str, *reasons: str) -> Wire:
        """The claim, once a condition has one of these reasons."""
        return self.wait_claim(name, lambda one: condition(one).get("reason") in reasons)

    def delete_claim(self, name: str) -> None:
        """Deletes a claim and waits until it is gone."""
        self.admin.delete(self.claim_path(name))
        self.admin.wait_gone(self.claim_path(name), timeout=_SECONDS)

    def secret(self, name: str) -> dict[str, str]:
        data = self.admin.get(f"/api/v1/namespaces/{self.namespace}/secrets/{name}").get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def config_map(self, name: str) -> dict[str, str]:
        data: dict[str, str] = self.admin.get(f"/api/v1/namespaces/{self.namespace}/configmaps/{name}")["data"]
        return data

    def everything_shown(self) -> str:
        """All that the cluster shows to users who may not read Secrets: claims, ObjectBuckets, ConfigMaps, Events."""
        inside = [f"/api/v1/namespaces/{self.namespace}/{kind}" for kind in ("events", "configmaps")]
        paths = [f"{OBC}/namespaces/{self.namespace}/objectbucketclaims", f"{OBC}/objectbuckets", *inside]
        return json.dumps([self.admin.items(path) for path in paths])


def secret_texts(data: Mapping[str, str]) -> Iterator[str]:
    """What must never be seen outside a Secret: every value, and the secret parts of those that are made of parts.

    Names of keys and accounts are left out by their form: they are short, or are addresses.
    """
    for name, value in data.items():
        if name in _PUBLIC:
            continue
        yield value
        yield from (part for part in re.findall(r"[A-Za-z0-9+/=%_-]{30,}", value) if "/" not in part.strip("/"))


_PUBLIC = {
    *("AWS_ACCESS_KEY_ID", "MINIOROOT_USER", "AZURE_STORAGE_ACCOUNT"),
    *("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_BLOB_ENDPOINT"),
    *("GOOGLE_CLOUD_PROJECT", "GOOGLE_SERVICE_ACCOUNT_EMAIL"),
}
