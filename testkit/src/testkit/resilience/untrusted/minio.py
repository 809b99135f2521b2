"""MinIO: an application that tries the admin API and STS."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from minio import Minio, MinioAdmin
from minio.credentials.providers import AssumeRoleProvider, StaticProvider
from minio.error import MinioAdminException, S3Error

from libbucket.testing.application import Refused
from minio_provisioner.errors import code_of
from testkit.minio.backend import MinioApplication, MinioBackend, a_pool
from testkit.resilience.untrusted.base import Peek, UntrustedApplication, nothing_of
from testkit.stores.minio import MinioStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket.testing.application import Application

Answer = TypeVar("Answer")

_REFUSALS: Final = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_HOUR: Final = 3600


class UntrustedMinioApplication(UntrustedApplication):
    """Knows its user's name, which is its access key."""

    capabilities = MinioBackend.capabilities

    def applications(self) -> Mapping[str, MinioApplication]:
        return {"minio": self._application(*self._keys)}

    def signed_urls(self, key: str) -> Mapping[str, str]:
        client = self._application(*self._keys).client
        return {"presigned": client.presigned_get_object(self.bound.bucket, key)}

    def peeks(self) -> Mapping[str, Peek]:
        mine, root = self._admin(*self._keys), self._admin(*self._root)
        user, policy = self._keys[0], self.bound.state["PolicyName"]
        own, bucket = self._application(*self._keys).client, self.bound.bucket
        roots = self._application(*self._root).client

        def peek(read: Callable[[MinioAdmin], object]) -> Peek:
            return Peek(attempt=_refused(lambda: read(mine)), control=lambda: read(root))

        return {
            "its own user": peek(lambda admin: admin.user_info(user)),
            "all users": peek(lambda admin: admin.user_list()),
            "its own policy": peek(lambda admin: admin.policy_info(policy)),
            "all policies": peek(lambda admin: admin.policy_list()),
            "the server": peek(lambda admin: admin.info()),
            "the bucket's tags": Peek(
                attempt=_refused(lambda: own.get_bucket_tags(bucket)), control=lambda: roots.get_bucket_tags(bucket)
            ),
        }

    def makers(self) -> Mapping[str, Callable[[], Application | None]]:
        admin, user = self._admin(*self._keys), self._keys[0]

        def make_service_account() -> MinioApplication:
            made = json.loads(admin.add_service_account(access_key="more-of-the-same", secret_key="more-of-the-same"))
            return self._application(made["credentials"]["accessKey"], made["credentials"]["secretKey"])

        def make_session() -> MinioApplication:
            made = AssumeRoleProvider(
                sts_endpoint=self._url, access_key=user, secret_key=self._keys[1], duration_seconds=_HOUR
            ).retrieve()
            application = self._application(made.access_key, made.secret_key)
            application.client = Minio(
                endpoint=self._netloc,
                access_key=made.access_key,
                secret_key=made.secret_key,
                session_token=made.session_token,
                secure=False,
                http_client=a_pool(),
            )
            return application

        return {
            "a service account": _refused(make_service_account),
            "a user": _refused(lambda: nothing_of(admin.user_add("more-of-the-same", "more-of-the-same"))),
            "a password of its own choice": _refused(lambda: nothing_of(admin.user_add(user, "known-to-everyone"))),
            "a wider policy": _refused(lambda: nothing_of(admin.attach_policy(["readwrite"], user=user))),
            "AssumeRole": make_session,
        }

    @property
    def _keys(self) -> tuple[str, str]:
        found = self.bound.environment
        return found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]

    @property
    def _root(self) -> tuple[str, str]:
        assert isinstance(self.store, MinioStore)
        return self.store.server.user, self.store.server.password

    @property
    def _url(self) -> str:
        return self.bound.environment["BUCKET_ENDPOINT"]

    @property
    def _netloc(self) -> str:
        return self._url.partition("://")[2]

    def _application(self, access_key: str, secret_key: str) -> MinioApplication:
        return MinioApplication(netloc=self._netloc, secure=False, access_key=access_key, secret_key=secret_key)

    def _admin(self, access_key: str, secret_key: str) -> MinioAdmin:
        return MinioAdmin(
            endpoint=self._netloc,
            credentials=StaticProvider(access_key, secret_key),
            secure=False,
            http_client=a_pool(),
        )


def _refused(ask: Callable[[], Answer]) -> Callable[[], Answer]:
    """The same request, whose refusals are `Refused`."""

    def attempt() -> Answer:
        with _refusals():
            return ask()

    return attempt


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (MinioAdminException, S3Error) as error:
        code = error.code if isinstance(error, S3Error) else code_of(error)
        if code not in _REFUSALS:
            raise
        raise Refused(code) from error
