"""Connections to one MinIO: the S3 client and the admin client, with time limits and bounded retries.

Opened once per verb by `provisioner` and closed after it, so that no state of a request outlives it. Knows
nothing of buckets and identities.
"""

from __future__ import annotations

import functools
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import urllib3
from minio import Minio, MinioAdmin, crypto
from minio.credentials.providers import StaticProvider

from libbucket import InvalidParameters, ProvisionerError, fence_requests
from minio_provisioner.errors import check_response, request_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket import AccessKeys
    from minio_provisioner.parameters import Admin, Parameters

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0

# Only a connection that was never made is retried. A request that was sent may have been carried out, and
# "make this bucket" answered twice reads like another's bucket; the core tries again, looking first.
_RETRIES: Final = urllib3.Retry(
    total=1,
    connect=1,
    read=0,
    redirect=False,
    status=0,
    other=0,
    backoff_factor=0.2,
    respect_retry_after_header=False,
    raise_on_redirect=False,
    raise_on_status=False,
)


_PATCHING: Final = threading.Lock()


def derive_one_key_at_a_time() -> None:
    """Keeps the SDK within the memory of a container.

    What administrators send is encrypted with a key whose derivation takes 64 MiB by design, for a tenth of a second:
    a few workers at once would take more than a container may have. Only the derivation waits for its turn, and no
    request: a store that doesn't answer holds up no other claim.
    """
    sdk: Any = crypto
    with _PATCHING:
        if not hasattr(sdk.hash_secret_raw, "__wrapped__"):
            sdk.hash_secret_raw = _one_at_a_time(sdk.hash_secret_raw)


def _one_at_a_time(function: Callable[..., bytes]) -> Callable[..., bytes]:
    turn = threading.Lock()

    @functools.wraps(function)
    def waits(*args: Any, **kwargs: Any) -> bytes:
        with turn:
            return function(*args, **kwargs)

    return waits


class CheckedPool(urllib3.PoolManager):
    """A connection pool that lets `errors` see every answer before MinIO's client does.

    Attributes:
        request_id: of the last answer: MinIO's client drops it where the admin API refuses. "" while a request has no
            answer. One verb, and so one thread, uses a pool.
    """

    def __init__(
        self, *, url: str, read_seconds: float, ssl_context: ssl.SSLContext | None, fence: Callable[[], None]
    ) -> None:
        extra: dict[str, Any] = {"ssl_context": ssl_context} if ssl_context else {}
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds)
        super().__init__(timeout=timeout, retries=_RETRIES, maxsize=1, **extra)
        fence_requests(self, fence, answer_seconds=read_seconds)
        self._url = url
        self.request_id = ""

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> urllib3.BaseHTTPResponse:  # type: ignore[override]  # noqa: FBT001, FBT002 - urllib3's signature
        """Sends a request, and refuses an answer that is not MinIO's or asks to wait.

        The answer is read before its body is read: a server that hangs up early cuts only the body off.
        """
        wants_content = kw.pop("preload_content", True)
        self.request_id = ""
        response = super().urlopen(method, url, redirect=redirect, preload_content=False, **kw)
        self.request_id = request_id_of(response)
        try:
            check_response(response, self._url)
            if wants_content:
                response.read(cache_content=True)
                response.release_conn()
        except Exception:
            response.close()
            raise
        return response


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What one verb works with.

    Attributes:
        url: the endpoint, for messages.
        s3: bucket calls, as the administrator.
        admin: identity and quota calls, as the administrator.
        parameters: where to connect to.
        pool: shared by all clients of this verb.
    """

    url: str
    s3: Minio
    admin: MinioAdmin
    parameters: Parameters
    pool: CheckedPool

    def s3_as(self, keys: AccessKeys) -> Minio:
        """An S3 client with a claim's own keys."""
        return _s3(self.parameters, self.pool, keys.access_key_id, keys.secret_access_key.reveal())


@contextmanager
def connect(
    parameters: Parameters, admin: Admin, *, fence: Callable[[], None], read_seconds: float
) -> Iterator[Clients]:
    """Clients for one verb; their connections are closed at the end, whatever happens.

    An error that leaves the block carries the request id of the answer that it was made from: the last one.

    Args:
        parameters: where to connect to.
        admin: who connects.
        fence: asked before each request; see `Services.before_request`.
        read_seconds: to wait for an answer.
    """
    derive_one_key_at_a_time()
    endpoint = parameters.endpoint
    context = _tls(parameters.ca_bundle or admin.ca_bundle) if endpoint.secure else None
    pool = CheckedPool(url=endpoint.url, read_seconds=read_seconds, ssl_context=context, fence=fence)
    try:
        yield _clients(parameters, admin, pool)
    except ProvisionerError as error:
        error.request_id = error.request_id or pool.request_id
        raise
    finally:
        pool.clear()


def _clients(parameters: Parameters, admin: Admin, pool: CheckedPool) -> Clients:
    endpoint = parameters.endpoint
    try:
        return Clients(
            url=endpoint.url,
            s3=_s3(parameters, pool, admin.access_key, admin.secret_key.reveal()),
            admin=MinioAdmin(
                endpoint=endpoint.netloc,
                credentials=StaticProvider(admin.access_key, admin.secret_key.reveal()),
                region=parameters.region,
                secure=endpoint.secure,
                http_client=pool,
            ),
            parameters=parameters,
            pool=pool,
        )
    except ValueError as error:  # hosts of AWS that it knows better, and what else the next release will refuse
        raise InvalidParameters(["endpoint or region is not what MinIO's client takes"]) from error


def _s3(parameters: Parameters, pool: CheckedPool, access_key: str, secret_key: str) -> Minio:
    return Minio(
        endpoint=parameters.endpoint.netloc,
        access_key=access_key,
        secret_key=secret_key,
        secure=parameters.endpoint.secure,
        region=parameters.region,
        http_client=pool,
    )


def _tls(ca_bundle: str) -> ssl.SSLContext:
    """The given authorities and no others; the machine's own where none are given.

    Given ones are trusted as they are: Python 3.13 is strict by default, and refuses authorities without the extensions
    that Go, curl and MinIO's own tools do without (https://github.com/python/cpython/issues/107361).
    """
    context = ssl.create_default_context(cadata=ca_bundle or None)
    if ca_bundle:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
