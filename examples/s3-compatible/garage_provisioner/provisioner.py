"""The four verbs for Garage, to be read from top to bottom like a recipe: a bucket and a key for each claim."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import libbucket
from garage_provisioner import garage
from garage_provisioner.objects import connect, purge
from libbucket import Endpoint, HttpApi, HttpClient, ObjectBucket

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ERRORS = {
    "BucketAlreadyExists": libbucket.NotReady,  # with the mark of this claim: another replica has just created it
    "BucketNotEmpty": libbucket.BucketNotEmpty,
    "InvalidBucketName": libbucket.InvalidClaim,
    "NoSuchAccessKey": libbucket.NotReady,  # another replica has just replaced it
}
API = HttpApi(name="Garage", seconds=20, parameter="adminEndpoint", errors=ERRORS)
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
QUOTAS = frozenset({"maxObjects", "maxSize"})


class Parameters:
    """The parameters of one class."""

    def __init__(self, given: Mapping[str, str]) -> None:
        reader = libbucket.ParameterReader(given)
        self.s3, self.admin = reader.url("endpoint", required=True), reader.url("adminEndpoint", required=True)
        self.region = reader.text("region", default="garage")
        self.secret_name, self.secret_namespace = reader.secret(required=True)
        reader.finish()
        self.warnings = reader.unknown()


class GarageProvisioner(libbucket.Provisioner, libbucket.EmptyBucketDeleter, libbucket.Inspector):
    """One object serves all workers at once: it keeps configuration, and nothing of a request."""

    supported_config: ClassVar = QUOTAS
    tracks_requests: ClassVar = True

    def __init__(self, services: libbucket.Services, api: HttpApi = API, purge_seconds: float = 20) -> None:
        self.services, self.api, self.purge_seconds = services, api, purge_seconds

    def open(self, parameters: Parameters) -> HttpClient:
        token = self.services.read_value(parameters.secret_namespace, parameters.secret_name, "GARAGE_ADMIN_TOKEN")
        return self.api.connect(parameters.admin, self.services.before_request, headers=libbucket.bearer(token))

    def store_id(self, parameters: Mapping[str, str]) -> str:
        return parameters.get("adminEndpoint", "")

    def provision(self, options: libbucket.BucketOptions) -> ObjectBucket:
        parameters, wanted = Parameters(options.parameters), libbucket.read_quantities(options, QUOTAS)
        if not NAME.fullmatch(options.bucket_name):
            raise libbucket.InvalidClaim(f"bucketName {options.bucket_name[:99]!r} is not the name of an S3 bucket")
        with self.open(parameters) as store:
            bucket = garage.ensure_bucket(store, options)
            quotas, repairs = {**bucket["quotas"], **wanted}, []
            if quotas != bucket["quotas"]:
                garage.post(store, "UpdateBucket", {"quotas": quotas}, id=bucket["id"])
                repairs = ["quotas"]
            return let_in(store, options, parameters, bucket, repairs=repairs)

    def grant(self, options: libbucket.BucketOptions) -> ObjectBucket:
        parameters = Parameters(options.parameters)
        with self.open(parameters) as store:
            if (bucket := garage.find(store, options.bucket_name)) is None:
                raise libbucket.BucketNotFound(f"bucket {options.bucket_name}, which the class names, does not exist")
            return let_in(store, options, parameters, bucket, warnings=libbucket.warn_unapplied(options.claim, QUOTAS))

    def is_intact(self, options: libbucket.BucketOptions) -> bool:
        with self.open(Parameters(options.parameters)) as store:
            key = garage.find_key(store, options)
        opened = (
            [bucket["globalAliases"] for bucket in key["buckets"] if bucket["permissions"] == garage.ALLOWED]
            if key
            else []
        )
        return any(options.bucket_name in aliases for aliases in opened)

    def revoke(self, ob: ObjectBucket) -> None:
        with self.open(Parameters(ob.parameters)) as store:
            garage.delete_keys(store, ob.user_id)

    def delete(self, ob: ObjectBucket) -> None:
        parameters = Parameters(ob.parameters)
        with self.open(parameters) as store:
            garage.delete_keys(store, ob.user_id)
            if (bucket := garage.find_own(store, ob)) is None:
                return
            garage.post(store, "CleanupIncompleteUploads", {"bucketId": bucket["id"], "olderThanSecs": 0})
            try:
                garage.delete_bucket(store, bucket)
            except libbucket.BucketNotEmpty:  # the admin API deletes no objects, the S3 API needs a key
                keys = garage.create_key(store, ob.user_id, bucket)
                s3 = connect(parameters.s3, parameters.region, keys, self.services.before_request)
                purge(s3, bucket["globalAliases"][0], self.purge_seconds)
                garage.delete_keys(store, ob.user_id)
                garage.delete_bucket(store, bucket)

    def delete_empty(self, ob: ObjectBucket) -> None:
        with self.open(Parameters(ob.parameters)) as store:
            if (bucket := garage.find_own(store, ob)) is not None:
                if bucket["unfinishedUploads"]:  # Garage deletes a bucket that has some, but none that has objects
                    raise libbucket.BucketNotEmpty(f"bucket {ob.bucket_name} holds unfinished uploads")
                garage.delete_bucket(store, bucket)
            garage.delete_keys(store, ob.user_id)


def let_in(  # noqa: PLR0913 - what the answer is made of
    store: HttpClient,
    options: libbucket.BucketOptions,
    parameters: Parameters,
    bucket: Any,
    *,
    warnings: Iterable[str] = (),
    repairs: Iterable[str] = (),
) -> ObjectBucket:
    """The claim's one key, with its permissions. What an earlier call made, and is no longer there, is a repair."""
    keys, repaired = options.access_keys if garage.find_key(store, options) else None, [*repairs]
    there = garage.delete_keys(store, options.user_id, but=keys.access_key_id if keys else "")
    permissions = {each["accessKeyId"]: each["permissions"] for each in bucket["keys"]}
    if keys is None:
        repaired += [] if there else ["key"]
        keys = garage.create_key(store, options.user_id, bucket)
    elif permissions.get(keys.access_key_id) != garage.ALLOWED:
        repaired += ["permissions"]
        garage.allow(store, bucket, keys.access_key_id)
    endpoint = Endpoint.from_url(parameters.s3, bucket_name=options.bucket_name, region=parameters.region)
    state, told = {"KeyId": keys.access_key_id}, (*parameters.warnings, *warnings)
    is_first = not options.additional_state
    return ObjectBucket.with_keys(endpoint, keys, state=state, warnings=told, repairs=() if is_first else repaired)
