"""An API server as a pure function: a cluster and a request in, a cluster and an answer out.

Has what the protocol rests on: uids, resource versions, preconditions, finalizers, the status subresource, the rules of
our CRDs about changes. Versions count per object and not over the whole cluster, because the core compares them per
object only, and two orders of unrelated writes then end in one state. Has no notion of who asks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from testkit.frozen import Frozen

Json = dict[str, Any]

OBC: Final = "/apis/objectbucket.io/v1alpha1"
_TIME: Final = "2026-01-01T00:00:00Z"
_IMMUTABLE: Final = ("storageClassName", "bucketName", "generateBucketName")
_WITH_STATUS: Final = ("objectbucketclaims", "objectbuckets")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; `path` without the query."""

    method: str
    path: str
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.method} {short(self.path)}"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What the server says instead of an object; code 0: no answer arrived."""

    code: int
    reason: str


Answer = bytes | Refusal

NOT_FOUND: Final = Refusal(code=404, reason="NotFound")
ALREADY_EXISTS: Final = Refusal(code=409, reason="AlreadyExists")
CONFLICT: Final = Refusal(code=409, reason="Conflict")
INVALID: Final = Refusal(code=422, reason="Invalid")
NO_ANSWER: Final = Refusal(code=0, reason="no answer")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Every object as JSON, by its path; and how often each path was written, over deletions.

    Attributes:
        has_uuids: whether uids have the form of Kubernetes, which stores may rely on; else they can be read by people.
    """

    objects: Frozen[str, bytes] = Frozen()
    versions: Frozen[str, int] = Frozen()
    has_uuids: bool = False

    def find(self, path: str) -> Json | None:
        """The object, for reading only."""
        raw = self.objects.get(path)
        return load(raw) if raw is not None else None

    def all(self, plural: str) -> list[Json]:
        """Every object of one kind."""
        return _all(self.objects, plural)


@lru_cache(maxsize=20_000)
def _all(objects: Frozen[str, bytes], plural: str) -> list[Json]:
    return [load(raw) for path, raw in sorted(objects.items()) if plural_of(path) == plural]


def dump(value: Json) -> bytes:
    """JSON in one spelling only, so that equal objects are equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@lru_cache(maxsize=20_000)
def load(raw: bytes) -> Any:
    """What `dump` wrote; shared, so never to be changed."""
    return json.loads(raw)


def claim_path(key: str) -> str:
    """Of the claim `namespace/name`."""
    return _namespaced(OBC, "objectbucketclaims", key)


def bucket_path(name: str) -> str:
    """Of an ObjectBucket."""
    return f"{OBC}/objectbuckets/{name}"


def secret_path(key: str) -> str:
    """Of the Secret `namespace/name`."""
    return _namespaced("/api/v1", "secrets", key)


def config_map_path(key: str) -> str:
    """Of the ConfigMap `namespace/name`."""
    return _namespaced("/api/v1", "configmaps", key)


def class_path(name: str) -> str:
    """Of a StorageClass."""
    return f"/apis/storage.k8s.io/v1/storageclasses/{name}"


def _namespaced(base: str, plural: str, key: str) -> str:
    namespace, _, name = key.partition("/")
    return f"{base}/namespaces/{namespace}/{plural}/{name}"


@lru_cache(maxsize=20_000)
def plural_of(path: str) -> str:
    """Kind of the object at a path."""
    return path.rsplit("/", 2)[1]


def short(path: str) -> str:
    """A path in readable form: `objectbucketclaims shop/photos`."""
    parts = path.split("/")
    parts, tail = (parts[:-1], "/status") if parts[-1] == "status" else (parts, "")
    at = parts.index("namespaces") if "namespaces" in parts else -1
    if at < 0 or at + 2 >= len(parts):
        return f"{parts[-2]} {parts[-1]}{tail}"
    return f"{parts[at + 2]} {parts[at + 1]}/{'/'.join(parts[at + 3 :])}{tail}".rstrip("/")


def respond(cluster: Cluster, request: Request) -> tuple[Cluster, Answer]:
    """What the server makes of a request."""
    path, is_status = request.path, request.path.endswith("/status")
    path = path.removesuffix("/status") if is_status else path
    if request.method == "POST":
        return _create(cluster, path, request.body)
    raw = cluster.objects.get(path)
    if raw is None:
        return cluster, NOT_FOUND
    if request.method == "GET":
        return cluster, raw
    version = cluster.versions[path]
    if request.method == "DELETE":
        outcome, answer = _delete(raw, request.body, version + 1)
    else:
        outcome, answer = _patch(raw, request.body, version + 1, plural_of(path), is_status)
    return _stored(cluster, path, raw, outcome), answer


def _create(cluster: Cluster, collection: str, body: bytes) -> tuple[Cluster, Answer]:
    new: Json = json.loads(body)
    path = f"{collection}/{new['metadata']['name']}"
    if path in cluster.objects:
        return cluster, ALREADY_EXISTS
    version = cluster.versions.get(path, 0) + 1
    uid = f"{short(path).replace(' ', ':')}@{version}"
    uid = str(uuid5(NAMESPACE_URL, uid)) if cluster.has_uuids else uid
    given = {"uid": uid, "resourceVersion": str(version), "generation": 1}
    parts = collection.split("/")
    if "namespaces" in parts:
        given["namespace"] = parts[parts.index("namespaces") + 1]
    if plural_of(path) in _WITH_STATUS:
        new.pop("status", None)
    new["metadata"] = {"creationTimestamp": _TIME, **new["metadata"], **given}
    raw = dump(new)
    return _stored(cluster, path, None, raw), raw


def _stored(cluster: Cluster, path: str, old: bytes | None, new: bytes | None) -> Cluster:
    if new == old:
        return cluster
    versions = cluster.versions.with_item(path, cluster.versions.get(path, 0) + 1)
    objects = cluster.objects.without(path) if new is None else cluster.objects.with_item(path, new)
    return replace(cluster, objects=objects, versions=versions)


@lru_cache(maxsize=20_000)
def _delete(raw: bytes, body: bytes, version: int) -> tuple[bytes | None, Answer]:
    now: Json = json.loads(raw)
    meta = now["metadata"]
    wanted = json.loads(body).get("preconditions", {}) if body else {}
    if any(meta[name] != value for name, value in wanted.items()):
        return raw, CONFLICT
    if not meta.get("finalizers"):
        return None, raw
    if "deletionTimestamp" not in meta:
        meta |= {"deletionTimestamp": _TIME, "generation": meta["generation"] + 1, "resourceVersion": str(version)}
    marked = dump(now)
    return marked, marked


@lru_cache(maxsize=20_000)
def _patch(raw: bytes, body: bytes, version: int, plural: str, is_status: bool) -> tuple[bytes | None, Answer]:
    old: Json = json.loads(raw)
    patch: Json = json.loads(body)
    given = patch.get("metadata", {})
    if given.pop("resourceVersion", old["metadata"]["resourceVersion"]) != old["metadata"]["resourceVersion"]:
        return raw, CONFLICT
    if given.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
        return raw, INVALID  # metadata.uid: field is immutable
    if plural in _WITH_STATUS:
        patch = {"status": patch.get("status")} if is_status else {k: v for k, v in patch.items() if k != "status"}
    new = _merged(old, patch)
    if _breaks_a_rule(old, new, plural):
        return raw, INVALID
    if new == old:
        return raw, raw
    if new.get("spec") != old.get("spec"):
        new["metadata"]["generation"] += 1
    if not new["metadata"].get("finalizers"):
        new["metadata"].pop("finalizers", None)
        if "deletionTimestamp" in new["metadata"]:
            return None, dump(new)  # as in Kubernetes, the answer carries no newer version
    new["metadata"]["resourceVersion"] = str(version)
    written = dump(new)
    return written, written


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = _merged(new.get(key), value)
    return new


def _breaks_a_rule(old: Json, new: Json, plural: str) -> bool:
    is_going = "deletionTimestamp" in old["metadata"]
    added = set(new["metadata"].get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
    if is_going and added:
        return True
    was, now = old.get("spec", {}), new.get("spec", {})
    return plural == "objectbucketclaims" and any(was.get(key) and was[key] != now.get(key) for key in _IMMUTABLE)
