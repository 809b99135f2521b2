"""Garage as the conformance suite sees it: applications, the administrator's view, what it can't do.

Everything goes to the server through MinIO's client and Garage's admin API, past the provisioner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from garage_provisioner.provisioner import API, GarageProvisioner

from libbucket.testing.conformance import Ability, Administrator, Capabilities, HttpBackend
from testkit.minio.backend import MinioApplication

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket import Authentication, Endpoint, HttpApi, ObjectBucket, Provisioner, Services
    from testkit.garage.server import GarageServer


class GarageAdministrator(Administrator):
    """The administrator's view of a server, with a key of its own that is let into each bucket that is asked for."""

    def __init__(self, server: GarageServer) -> None:
        self._server = server
        made = server.call("POST", "CreateKey", {"name": "administrator of the tests"})
        self._key = made["accessKeyId"]
        self._s3 = an_application(server, self._key, made["secretAccessKey"])

    def application(self) -> MinioApplication:
        for bucket in self._server.call("GET", "ListBuckets"):
            self._allow(bucket["id"])
        return self._s3

    def make_bucket(self, name: str) -> None:
        self._allow(self._server.call("POST", "CreateBucket", {"globalAlias": name})["id"])

    def purge_bucket(self, name: str) -> None:
        found = self._bucket(name)
        if found is None:
            return
        self._allow(found["id"])
        self._s3.batch_delete(name, self._s3.list_keys(name))
        self._server.call("POST", "CleanupIncompleteUploads", {"bucketId": found["id"], "olderThanSecs": 0})
        self._server.call("POST", "DeleteBucket", id=found["id"])

    def bucket_exists(self, name: str) -> bool:
        return self._bucket(name) is not None

    def identity_exists(self, record: ObjectBucket) -> bool:
        return bool(self._keys(record))

    def remove_identity(self, record: ObjectBucket) -> None:
        for key in self._keys(record):
            self._server.call("POST", "DeleteKey", id=key)

    def settings(self, bucket: str) -> Mapping[str, object]:
        found = self._bucket(bucket)
        return {name: found[name] for name in ("id", "globalAliases", "websiteAccess", "quotas")}

    def unfinished_uploads(self, bucket: str) -> int:
        self._allow(self._bucket(bucket)["id"])
        return len(self._s3.client._list_multipart_uploads(bucket).uploads)

    def config(self, bucket: str, key: str) -> str | None:
        found = self._bucket(bucket)["quotas"][key]
        return None if found is None else str(found)

    def set_config(self, bucket: str, key: str, value: str) -> None:
        found = self._bucket(bucket)
        self._server.call("POST", "UpdateBucket", {"quotas": {**found["quotas"], key: int(value)}}, id=found["id"])

    def _bucket(self, name: str) -> Any:
        return self._server.call("GET", "GetBucketInfo", globalAlias=name)

    def _keys(self, record: ObjectBucket) -> list[str]:
        known = self._server.call("GET", "ListKeys")
        return [key["id"] for key in known if key["name"] == record.user_id]

    def _allow(self, bucket: str) -> None:
        about = {"bucketId": bucket, "accessKeyId": self._key}
        self._server.call(
            "POST", "AllowBucketKey", {**about, "permissions": {"read": True, "write": True, "owner": True}}
        )


class GarageBackend(HttpBackend):
    """A running server, ready for the suite."""

    api: ClassVar[HttpApi] = API
    many_objects: ClassVar[int] = 1100  # more than one page
    capabilities: ClassVar[Capabilities] = Capabilities(
        cannot={
            Ability.ANONYMOUS: "the S3 API takes no request without a key; websites have a port of their own",
            Ability.DELETE_MARKERS: "a deleted object is gone",
            Ability.VERSIONS: "an object has one version",
        },
        config={"maxObjects": {"500": "500", "1k": "1000"}, "maxSize": {"1Gi": str(2**30), "2G": str(2 * 10**9)}},
    )

    def __init__(self, server: GarageServer) -> None:
        self._server = server
        self._administrator = GarageAdministrator(server)

    def build(self, services: Services, api: HttpApi, purge_seconds: float) -> Provisioner:
        return GarageProvisioner(services, api, purge_seconds)

    @property
    def parameters(self) -> Mapping[str, str]:
        return parameters_for(self._server)

    @property
    def admin_secret(self) -> Mapping[str, str]:
        return {"GARAGE_ADMIN_TOKEN": self._server.token}

    @property
    def administrator(self) -> GarageAdministrator:
        return self._administrator

    def application(self, endpoint: Endpoint, credentials: Authentication) -> MinioApplication:
        keys = credentials.access_keys
        assert keys is not None
        assert endpoint.additional_config["BUCKET_ENDPOINT"] == self._server.s3_url
        return an_application(self._server, keys.access_key_id, keys.secret_access_key.reveal())

    def refusal_body(self, code: str, text: str) -> object:
        """As `http_body` in garage_api_admin/error.rs; the id is one that a proxy in front of Garage adds."""
        return {"code": code, "message": text, "region": "garage", "path": "/v2/"}


def parameters_for(server: GarageServer) -> dict[str, str]:
    """Of a class for this server."""
    return {
        "endpoint": server.s3_url,
        "adminEndpoint": server.admin_url,
        "secretName": "garage-admin",
        "secretNamespace": "garage",
    }


def an_application(server: GarageServer, access_key: str, secret_key: str) -> MinioApplication:
    """An application with these keys."""
    netloc, keys = urlsplit(server.s3_url).netloc, {"access_key": access_key, "secret_key": secret_key}
    return MinioApplication(netloc=netloc, secure=False, region=server.region, **keys)
