"""The fake of Google as the conformance suite's interfaces see it: for the answer sweep, without sockets and clients.

Permissions, states of keys and locks are the fake's own; only protocols are left out.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from libbucket.testing.application import Application, Refused
from libbucket.testing.conformance import Backend, Capabilities
from testkit.gcs.by_hand import COUNTERS, AdministratorByHand
from testkit.gcs.fake import objects
from testkit.gcs.fake.json_api import delete_bucket
from testkit.gcs.fake.model import Bucket, MultipartUpload
from testkit.gcs.fake.permissions import Principal, require_bucket
from testkit.gcs.fake.policies import default_policy
from testkit.gcs.fake.signatures import find_hmac_key
from testkit.gcs.fake.tokens import find_key
from testkit.gcs.fake.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket import Authentication, Endpoint
    from libbucket.provisioner import Provisioner
    from testkit.gcs.fake import FakeGcs

FILE_KEY: Final = "GOOGLE_APPLICATION_CREDENTIALS_JSON"
EVERYBODY: Final = "administrator-of-all"


class InMemoryApplication(Application):
    """An application.

    Args:
        fake: it.
        identify: says who it is, or that its credentials are not accepted.
        remember: who it is by a token that it got before, if it holds one; lists go on with that.
    """

    def __init__(
        self, fake: FakeGcs, identify: Callable[[], Principal], remember: Callable[[], Principal | None] = lambda: None
    ) -> None:
        self._store, self._identify, self._remember = fake.store, identify, remember

    def put(self, bucket: str, key: str, data: bytes) -> None:
        with self._asked() as who:
            objects.write(self._store, who, bucket, key, data, "application/octet-stream")

    def get(self, bucket: str, key: str) -> bytes:
        with self._asked() as who:
            return objects.read(self._store, who, bucket, key).data

    def list_keys(self, bucket: str) -> list[str]:
        with self._asked(by_token=True) as who:
            found = require_bucket(self._store, who, "storage.objects.list", bucket)
            return sorted({each.name for each in found.all_versions() if each.live})

    def delete(self, bucket: str, key: str) -> None:
        with self._asked() as who:
            objects.delete(self._store, who, bucket, key)

    def remove_bucket(self, bucket: str) -> None:
        with self._asked() as who:
            delete_bucket(self._store, who, bucket)

    def start_multipart(self, bucket: str, key: str) -> None:
        with self._asked() as who:
            found = require_bucket(self._store, who, "storage.multipartUploads.create", bucket, key)
            upload = MultipartUpload(f"upload-{self._store.next_number()}", key, "application/octet-stream")
            found.uploads[upload.id] = upload

    @contextmanager
    def _asked(self, *, by_token: bool = False) -> Iterator[Principal]:
        try:
            remembered = self._remember() if by_token else None
            yield remembered or self._identify()
        except ApiError as error:
            if error.status in {401, 403}:
                raise Refused(error.code) from error
            raise LookupError(error.code) from error


class InMemoryAdministrator(AdministratorByHand):
    """Reads the fake directly."""

    def __init__(self, fake: FakeGcs) -> None:
        super().__init__(fake)
        email = json.loads(fake.add_admin(EVERYBODY))["client_email"]
        self._application = InMemoryApplication(fake, lambda: Principal(email, fake.store.accounts[email].uid))

    def application(self) -> InMemoryApplication:
        return self._application

    def make_bucket(self, name: str) -> None:
        assert name not in self.fake.store.buckets
        uniform = {"uniformBucketLevelAccess": {"enabled": True}}
        resource = {"metageneration": 1, "location": "EU", "labels": {}, "iamConfiguration": uniform}
        self.fake.store.buckets[name] = Bucket(name, self.fake.project, resource, default_policy(self.fake.project))

    def settings(self, bucket: str) -> Mapping[str, object]:
        found = self.fake.store.buckets[bucket].resource
        return {key: value for key, value in found.items() if key not in COUNTERS}

    def enable_versioning(self, bucket: str) -> None:
        self.fake.store.buckets[bucket].resource["versioning"] = {"enabled": True}


class InMemoryBackend(Backend):
    """All of Google.

    Args:
        fake: it.
        credentials: what claims get.
        namespace: of the claims whose applications are asked for.
    """

    capabilities = Capabilities()

    def __init__(self, fake: FakeGcs, *, credentials: str, namespace: str) -> None:
        self.fake, self._credentials, self._namespace = fake, credentials, namespace
        self._administrator = InMemoryAdministrator(fake)
        self.admin_key = fake.add_admin("provisioner")

    @property
    def parameters(self) -> Mapping[str, str]:
        return {"secretName": "admin", "secretNamespace": "gcs", "credentials": self._credentials}

    @property
    def administrator(self) -> InMemoryAdministrator:
        return self._administrator

    def provisioner(self) -> Provisioner:
        raise NotImplementedError("the sweep has its own, on the turned clock")

    def application(self, endpoint: Endpoint, credentials: Authentication) -> InMemoryApplication:
        del endpoint
        return InMemoryApplication(self.fake, lambda: self._principal(credentials), lambda: self._by_token(credentials))

    def _principal(self, held: Authentication) -> Principal:
        store = self.fake.store
        if held.access_keys is not None:
            key = find_hmac_key(store, held.access_keys.access_key_id)
            if key.secret != held.access_keys.secret_access_key.reveal():
                raise ApiError(403, "forbidden", "", code="SignatureDoesNotMatch")
            return Principal(key.email, key.uid)
        if FILE_KEY not in held.additional_secret_data:
            return Principal(federated=self.fake.principal(self._namespace, "default"))
        file = json.loads(held.additional_secret_data[FILE_KEY].reveal())
        email = file["client_email"]
        if not find_key(store, email, file["private_key_id"]):
            raise ApiError(401, "authError", "", code="InvalidGrant")
        return Principal(email, store.accounts[email].uid)

    def _by_token(self, held: Authentication) -> Principal | None:
        """Who holds a token that was got with a service-account key while that worked: it outlives the key.

        https://cloud.google.com/iam/docs/service-account-creds#access-tokens: until it ends, after an hour at most.
        """
        if not self.fake.knobs.tokens_outlive_keys or FILE_KEY not in held.additional_secret_data:
            return None
        file = json.loads(held.additional_secret_data[FILE_KEY].reveal())
        is_there = self.fake.store.account_of(file["client_email"], file["client_id"])
        return Principal(file["client_email"], file["client_id"]) if is_there else None
