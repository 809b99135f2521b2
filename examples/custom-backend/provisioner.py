"""A complete provisioner for a directory on disk, in one file: the contract of libbucket by example.

A bucket is a directory below the class parameter `root`; an identity is a file with its credentials:

    <root>/<bucket>/                      what the application stores
    <root>/.ownership/<bucket>.json          ownership tags of the bucket
    <root>/.credentials/<user id>.json    who may use which bucket; the server of the directory reads these
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libbucket
from libbucket import AccessKeys, Authentication, Connection, Endpoint, ObjectBucket, SecretStr

if TYPE_CHECKING:
    from collections.abc import Mapping

# Names become paths: this form leaves no room for "..", "/" or a hidden file.
SAFE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,126}[a-z0-9])?")


class DirectoryProvisioner(libbucket.Provisioner, libbucket.EmptyBucketDeleter):
    """The four verbs, and one optional interface. One object serves all workers: it keeps no state of a request."""

    def __init__(self, services: libbucket.Services) -> None:
        self.services = services  # .read_secret(namespace, name) reads an administrator's Secret: a disk has none

    def provision(self, options: libbucket.BucketOptions) -> ObjectBucket:
        """A claim wants a new bucket. The call may be repeated: check before creating."""
        store, name = Store(options.parameters, self.services), options.bucket_name
        bucket, tags = store.bucket(name), store.tags(name)
        if options.was_bound and not bucket.exists():
            raise libbucket.BucketLost(f"bucket {name} is gone, with everything in it")
        # The ownership tags first: a crash leaves no bucket without an owner, and of two concurrent claims one wins.
        reclaimed = options.owner.matches_earlier(read(tags))
        if reclaimed or not bucket.exists():
            write(tags, options.owner.ownership_tags(), overwrite=reclaimed)
        if not options.owner.matches(read(tags)):
            raise libbucket.BucketExists(f"bucket {name} exists and is not this claim's")
        bucket.mkdir(exist_ok=True)
        return store.let_in(options)

    def grant(self, options: libbucket.BucketOptions) -> ObjectBucket:
        """The class names an existing bucket: a new identity, and nothing else is changed."""
        store = Store(options.parameters, self.services)
        if not store.bucket(options.bucket_name).is_dir():
            raise libbucket.BucketNotFound(f"bucket {options.bucket_name}, which the class names, does not exist")
        return store.let_in(options)

    def revoke(self, ob: ObjectBucket) -> None:
        """The claim ends and the bucket stays. Gone already is success."""
        Store(ob.parameters, self.services).credentials(ob.user_id).unlink(missing_ok=True)

    def delete(self, ob: ObjectBucket) -> None:
        """The claim ends and the bucket goes: credentials first, proof of ownership next, the ownership tags last."""
        self.revoke(ob)
        if bucket := self.own_bucket(ob):
            shutil.rmtree(bucket, ignore_errors=not bucket.exists())
            Store(ob.parameters, self.services).tags(ob.bucket_name).unlink(missing_ok=True)

    def delete_empty(self, ob: ObjectBucket) -> None:
        """The same where a class says deletionPolicy IfEmpty: where there is something, nothing is touched."""
        if (bucket := self.own_bucket(ob)) and any(path.is_file() for path in bucket.rglob("*")):
            raise libbucket.BucketNotEmpty(f"bucket {ob.bucket_name} holds files")
        self.delete(ob)

    def own_bucket(self, ob: ObjectBucket) -> Path | None:
        """The claim's directory, there or gone; None where it never had one."""
        if not SAFE_NAME.fullmatch(ob.bucket_name):
            return None  # provision refused this name, so there is nothing: a claim must never be stuck for good
        store = Store(ob.parameters, self.services)
        bucket, tags = store.bucket(ob.bucket_name), read(store.tags(ob.bucket_name))
        is_own = ob.owner.matches(tags) or ob.owner.matches_earlier(tags)
        if bucket.exists() and not is_own:
            raise libbucket.BucketExists(f"bucket {ob.bucket_name} is not this claim's and stays")
        return bucket if is_own else None


class Store:
    """The directory that a class names. All parameters come from a StorageClass, or from the record of one."""

    def __init__(self, parameters: Mapping[str, str], services: libbucket.Services) -> None:
        reader = libbucket.ParameterReader(parameters)
        self.root = Path(reader.text("root", required=True))
        if not self.root.is_absolute() or not self.root.is_dir():
            reader.mistake("root", f"must be the absolute path of an existing directory, not {str(self.root)!r}")
        reader.finish()  # raises, with every mistake at once
        self.warnings = reader.unknown()
        services.before_request()  # is this replica still the leader? Over a network: before each request

    def bucket(self, name: str) -> Path:
        if not SAFE_NAME.fullmatch(name):
            raise libbucket.InvalidClaim(f"bucketName {name!r} must be lower-case letters, digits and inner dashes")
        return self.root / name

    def tags(self, bucket: str) -> Path:
        return self.root / ".ownership" / f"{self.bucket(bucket).name}.json"

    def credentials(self, user_id: str) -> Path:
        return self.root / ".credentials" / f"{self.bucket(user_id).name}.json"

    def let_in(self, options: libbucket.BucketOptions) -> ObjectBucket:
        """Writes the credentials file, and tells the core what the application needs."""
        bucket = self.bucket(options.bucket_name)
        keys = self.working_keys(options)
        if keys is None:  # new ones; the old ones, if there were any, stop working
            keys = AccessKeys(access_key_id=secrets.token_hex(10), secret_access_key=SecretStr(secrets.token_urlsafe()))
            held = {"id": keys.access_key_id, "key": keys.secret_access_key.reveal()}
            write(self.credentials(options.user_id), {"bucket": bucket.name, **held})
        more = {"BUCKET_PATH": str(bucket)}  # one more key in the claim's ConfigMap
        endpoint = Endpoint(bucket_host="localhost", bucket_port=0, bucket_name=bucket.name, additional_config=more)
        connection = Connection(endpoint=endpoint, authentication=Authentication(access_keys=keys))
        return ObjectBucket(connection=connection, warnings=self.warnings)

    def working_keys(self, options: libbucket.BucketOptions) -> AccessKeys | None:
        """The keys in the claim's Secret, if they work: nothing rotates by accident."""
        held = options.credentials.access_keys if options.credentials else None
        if held is None:
            return None
        wanted = {"bucket": options.bucket_name, "id": held.access_key_id, "key": held.secret_access_key.reveal()}
        return held if read(self.credentials(options.user_id)) == wanted else None


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, content: Mapping[str, str], *, overwrite: bool = True) -> None:
    """Writes a file whole or not at all; leaves one that is there and may not be overwritten."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:  # readable by its owner only
        (Path(scratch) / "new").write_text(json.dumps(content))
        with suppress(FileExistsError):
            (os.replace if overwrite else os.link)(Path(scratch) / "new", path)


if __name__ == "__main__":
    name = "directory.example/bucket"
    sys.exit(libbucket.run(DirectoryProvisioner, program="provisioner.py", provisioner_name=name, version="1"))
