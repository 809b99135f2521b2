"""Buckets and keys of one Garage, by calls of its admin API; https://garagehq.deuxfleurs.fr/api/garage-admin-v2.html.

A bucket has no tags in Garage. It may have several global aliases, and one of them, the *mark*, says whose it is. A key
has a name, which is the claim's user id. Every function may be repeated after a crash.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import libbucket
from libbucket import AccessKeys, SecretStr

if TYPE_CHECKING:
    from libbucket import HttpClient, ObjectBucket

MARK = re.compile("obc-[0-9a-f]{40}")
ALLOWED = {"read": True, "write": True, "owner": False}  # an owner may publish the bucket as a website, and delete it


def post(store: HttpClient, call: str, body: object, **query: str) -> Any:
    return store.request("POST", "v2", call, query=query, json=body).json()


def find(store: HttpClient, alias: str) -> Any:
    return store.find("v2", "GetBucketInfo", query={"globalAlias": alias})


def marks(owner: libbucket.Owner) -> list[str]:
    """The alias that says that a bucket is this claim's, and those of claims that had its bucket before."""
    clusters = (owner.cluster_id, *owner.earlier_clusters)
    of = [(owner.cluster_id, owner.uid), *((cluster, uid) for uid in owner.earlier_uids for cluster in clusters)]
    return [f"obc-{hashlib.sha256('/'.join(each).encode()).hexdigest()[:40]}" for each in of]


def find_own(store: HttpClient, of: libbucket.BucketOptions | ObjectBucket) -> Any:
    """The bucket with a mark of the claim; None where there is neither that nor one with the name."""
    marked = next((bucket for mark in marks(of.owner) if (bucket := find(store, mark))), None)
    named = None if marked else find(store, of.bucket_name)
    if named and not (of.taken_over and not any(map(MARK.fullmatch, named["globalAliases"]))):
        raise libbucket.BucketExists(f"bucket {of.bucket_name} was not made for this claim, and stays")
    return marked or named


def ensure_bucket(store: HttpClient, options: libbucket.BucketOptions) -> Any:
    """Creating it with its mark makes it the claim's; an interrupted call finds it by the mark, and names it."""
    (mark, *earlier), bucket = marks(options.owner), find_own(store, options)
    if bucket is None and options.was_bound:
        raise libbucket.BucketLost(f"bucket {options.bucket_name} is gone, with everything in it")
    bucket = bucket or post(store, "CreateBucket", {"globalAlias": mark})
    for alias in [each for each in (mark, options.bucket_name) if each not in bucket["globalAliases"]]:
        try:
            bucket = post(store, "AddBucketAlias", {"bucketId": bucket["id"], "globalAlias": alias})
        except libbucket.StoreRefused:
            if find(store, alias) is None:
                raise
            raise libbucket.BucketExists(f"bucket {alias} exists, and was not made for this claim") from None
    for alias in [each for each in earlier if each in bucket["globalAliases"]]:
        bucket = post(store, "RemoveBucketAlias", {"bucketId": bucket["id"], "globalAlias": alias})
    return bucket


def delete_bucket(store: HttpClient, bucket: Any) -> None:
    store.request("POST", "v2", "DeleteBucket", query={"id": bucket["id"]}, accept={404})


def find_key(store: HttpClient, options: libbucket.BucketOptions) -> Any:
    """The key in the claim's Secret as Garage has it; None where it is not the claim's, or is not that key."""
    if (held := options.access_keys) is None:
        return None
    key = store.find("v2", "GetKeyInfo", query={"id": held.access_key_id, "showSecretKey": "true"})
    wanted = (options.user_id, held.secret_access_key.reveal(), False)
    return key if key and (key["name"], key["secretAccessKey"], key["expired"]) == wanted else None


def delete_keys(store: HttpClient, user_id: str, but: str = "") -> int:
    """Removes the claim's keys, but for one, and counts them: an interrupted call may leave several."""
    found = store.request("GET", "v2", "GetKeyInfo", query={"search": user_id}, accept={400, 404})
    mine = [found.json()["accessKeyId"]] if found.status == 200 else []
    if found.status == 400:  # several have this name
        known = store.request("GET", "v2", "ListKeys", query={"limit": "1000000"}).json()
        mine = [key["id"] for key in known if key["name"] == user_id]
    for key_id in {*mine} - {but}:
        store.request("POST", "v2", "DeleteKey", query={"id": key_id}, accept={404})
    return len(mine)


def create_key(store: HttpClient, user_id: str, bucket: Any) -> AccessKeys:
    made = post(store, "CreateKey", {"name": user_id})
    allow(store, bucket, made["accessKeyId"])
    return AccessKeys(access_key_id=made["accessKeyId"], secret_access_key=SecretStr(made["secretAccessKey"]))


def allow(store: HttpClient, bucket: Any, key_id: str) -> None:
    about = {"bucketId": bucket["id"], "accessKeyId": key_id}
    post(store, "DenyBucketKey", {**about, "permissions": {"owner": True}})
    post(store, "AllowBucketKey", {**about, "permissions": ALLOWED})
