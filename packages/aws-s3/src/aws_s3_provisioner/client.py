"""Connections to AWS: clients with the administrator's and with a claim's credentials, time limits, no SDK retries.

Opened once per verb by `provisioner` and closed after it, so that no state of a request outlives it. What is kept
between verbs is what costs: the SDK's data files, and the pod's own identity with its tokens. Knows nothing of buckets
and identities.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.exceptions import NoCredentialsError, UnknownRegionError
from botocore.loaders import Loader, create_loader
from botocore.session import Session

from aws_s3_provisioner.errors import THROTTLING, Call, Elsewhere, request_id_in, request_id_of, translated
from aws_s3_provisioner.pacing import LONGEST_WAIT, Pacers
from aws_s3_provisioner.parameters import TOLERANT_REGION, is_region
from libbucket import (
    Address,
    NotReady,
    ProvisionerError,
    RetrySlowly,
    StoreUnavailable,
    Throttled,
    fence_requests,
    parse_retry_after,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.credentials import Credentials
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts import STSClient

    from aws_s3_provisioner.pacing import Pacer
    from aws_s3_provisioner.parameters import Admin, Parameters
    from libbucket import AccessKeys

_TO_BE_ONESELF: Final = "sts:AssumeRoleWithWebIdentity, by the trust policy of the pod's role,"
_ASK_AGAIN: Final = 300.0
_WEB_PAGE: Final = (b"<html", b"<!doctype html")
_ELSEWHERE: Final = frozenset({301, 302, 307})
_ELSEWHERE_CODES: Final = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect"})
# Elsewhere the SDK would make a host up: https://docs.aws.amazon.com/general/latest/gr/iam-service.html
_WITH_IAM_FIPS: Final = frozenset({"aws", "aws-us-gov"})
_FOR_NOW: Final = frozenset({302, 307})
"""Redirects of S3 that end: of a name that is being removed in one region and made in another."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a request may take, in seconds."""

    connect: float = 5.0
    read: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What one verb works with.

    Attributes:
        s3: bucket calls, as the administrator.
        iam: identity calls, as the administrator.
        where: who is asked, for messages.
        source: where the administrator's credentials come from, for messages.
        partition: `aws`, `aws-cn`, ...: the second part of an ARN.
        public: what applications are told.
        account: number of the administrator's account; "" where it is not known.
        s3_service: name of S3 in policies, such as `s3.eu-west-1.amazonaws.com`.
    """

    s3: S3Client
    iam: IAMClient
    where: str
    source: str
    partition: str
    public: Address
    account: str
    s3_service: str
    _maker: _Maker
    _stack: ExitStack
    _credentials: _Keys

    @property
    def is_aws(self) -> bool:
        """Whether the store is AWS itself."""
        return self._maker.parameters.is_aws

    def bucket_arn(self, bucket: str) -> str:
        """The bucket's ARN."""
        return f"arn:{self.partition}:s3:::{bucket}"

    def call(self, permission: str) -> Call:
        """What is being done, for messages."""
        return Call(where=self.where, permission=permission, source=self.source)

    def in_region(self, region: str) -> Clients | None:
        """The same, for a bucket that is in another region of AWS; None where only one is within reach."""
        parameters = self._maker.parameters
        if parameters.s3_endpoint or not is_region(region):
            return None
        maker = replace(self._maker, parameters=replace(parameters, region=region))
        return replace(self, s3=self._stack.enter_context(closing(maker.s3(self._credentials))))

    def s3_as(self, keys: AccessKeys) -> S3Client:
        """An S3 client with a claim's own keys."""
        credentials = _Keys(keys.access_key_id, keys.secret_access_key.reveal(), "")
        return self._stack.enter_context(closing(self._maker.s3(credentials)))


class Connector:
    """Makes the clients of a verb. One per process; its methods may be called from several threads.

    Args:
        limits: of every request.
        fence: asked before each request; see `Services.before_request`.
    """

    def __init__(self, limits: Limits, fence: Callable[[], None]) -> None:
        self._limits = limits
        self._fence = fence
        # Reading the SDK's data takes 100 ms, and a session 20; with both at hand a client takes 4.
        self._loader = create_loader()
        self._session = _SharedSession(self._loader)
        self._ambient: dict[tuple[str, str], Credentials] = {}
        self._accounts: dict[tuple[str, str], tuple[str, float]] = {}
        self._pacers = Pacers()
        self._lock = threading.Lock()

    @contextmanager
    def connect(self, parameters: Parameters, admin: Admin | None, *, is_greenfield: bool = False) -> Iterator[Clients]:
        """Clients for one verb; their connections are closed at the end, whatever happens.

        Args:
            parameters: where to connect to.
            admin: who connects; None for the pod's own identity.
            is_greenfield: buckets of other accounts are refused.

        Raises:
            RetrySlowly: the region is unknown, or there are no credentials.
            StoreUnavailable: the pod's identity can't be asked for now.
        """
        source = "the Secret that secretName names" if admin else "the pod's own identity"
        with ExitStack() as stack:
            with translated(Call(where="AWS", permission=_TO_BE_ONESELF, source=source)):
                credentials = _from_secret(admin) if admin else self._from_pod(parameters)
                maker = _Maker(self._session, parameters, self._limits, self._fence)
                partition = _partition(self._session, parameters)
                if parameters.fips:
                    self._check_fips(partition, parameters.region)
                account = self._account(maker, credentials, admin) if is_greenfield else ""
                maker = replace(
                    maker,
                    # Only AWS is known to throttle what a few workers send.
                    pacer=self._pacers.of((partition, admin_id(admin))) if parameters.is_aws else None,
                    bucket_owner=account if is_greenfield else "",
                )
                s3 = stack.enter_context(closing(maker.s3(credentials)))
                iam = stack.enter_context(closing(maker.iam(credentials)))
            public = Address.from_url(parameters.s3_endpoint or _destination(s3))
            yield Clients(
                s3=s3,
                iam=iam,
                where=_where(parameters, public),
                source=source,
                partition=partition,
                public=public,
                account=account,
                s3_service=f"s3.{parameters.region}.{self._suffix(partition)}",
                _maker=maker,
                _stack=stack,
                _credentials=credentials,
            )

    def _suffix(self, partition: str) -> str:
        known = self._loader.load_data("partitions")["partitions"]
        return str(next(each["outputs"]["dnsSuffix"] for each in known if each["id"] == partition))

    def _check_fips(self, partition: str, region: str) -> None:
        """The SDK makes a host up for every region; its older table has those that exist.

        Raises:
            RetrySlowly: the region is known, and has none.
        """
        known = next(
            each for each in self._loader.load_data("endpoints")["partitions"] if each["partition"] == partition
        )
        found = known["services"].get("s3", {}).get("endpoints", {}).get(region)
        if found is not None and not any("fips" in one["tags"] for one in found.get("variants", ())):
            raise RetrySlowly(f"parameter fips is true, and AWS has no FIPS endpoint of S3 in {region}")

    def _account(self, maker: _Maker, credentials: _Keys, admin: Admin | None) -> str:
        """The number of the administrator's account, which STS tells without any permission.

        It only adds a condition to requests. So where STS can't be reached, as in a private network, it is "", and is
        asked for again some minutes later.
        """
        if not maker.parameters.reaches_sts:
            return ""
        which = admin_id(admin), maker.parameters.region
        with self._lock:
            found, asked = self._accounts.get(which, ("", -_ASK_AGAIN))
        if found or time.monotonic() - asked < _ASK_AGAIN:
            return found
        call = Call(where="STS", permission="sts:GetCallerIdentity")
        with suppress(ProvisionerError), translated(call), closing(maker.sts(credentials)) as sts:
            found = sts.get_caller_identity()["Account"]
        with self._lock:
            self._accounts[which] = found, time.monotonic()
        return found

    def _from_pod(self, parameters: Parameters) -> _Keys:
        """The pod's own identity through the SDK's chain: IRSA, EKS Pod Identity, or what else is there.

        Its tokens are kept and renewed by the SDK, because each costs a request.
        """
        which = (parameters.region, parameters.sts_endpoint)
        with self._lock:
            found = self._ambient.get(which)
            if found is None:
                session = _PodSession(self._loader, *which, self._limits)
                found = session.get_credentials()
                if found is None:
                    raise NoCredentialsError
                self._ambient[which] = found
        frozen = found.get_frozen_credentials()
        return _Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token or "")


@dataclass(frozen=True)
class _Keys:
    """Credentials as the SDK's clients take them; never printed."""

    access_key: str
    secret_key: str
    token: str

    def __repr__(self) -> str:
        return "_Keys(**********)"


@dataclass(frozen=True)
class _Maker:
    """Makes clients of one class."""

    session: Session
    parameters: Parameters
    limits: Limits
    fence: Callable[[], None]
    pacer: Pacer | None = None
    bucket_owner: str = ""

    def s3(self, credentials: _Keys) -> S3Client:
        style = "path" if self.parameters.path_style else "auto"
        options: Any = {"addressing_style": style, "us_east_1_regional_endpoint": "regional"}
        endpoints: Any = {
            "use_fips_endpoint": self.parameters.fips,
            "use_dualstack_endpoint": self.parameters.dualstack,
        }
        more = Config(s3=options, **endpoints)
        client: S3Client = self._client("s3", credentials, self.parameters.s3_endpoint, more)
        client.meta.events.register_first("needs-retry.s3", _refuse_foreign_answer)
        if not self.parameters.tags_on_creation:
            client.meta.events.register_first("before-sign.s3", _sum_as_of_old)
        if self.bucket_owner:
            client.meta.events.register("before-parameter-build.s3", partial(_expect_owner, self.bucket_owner))
        return client

    def iam(self, credentials: _Keys) -> IAMClient:
        parameters = self.parameters
        # The SDK signs for the one region of a partition's IAM only where it chose the endpoint itself.
        region = _region_of_iam(self.session, parameters) if parameters.iam_endpoint else parameters.region
        maker = replace(self, parameters=replace(parameters, region=region))
        client: IAMClient = maker._client(  # noqa: SLF001 - of the same class
            "iam", credentials, parameters.iam_endpoint, self._fips(at=_WITH_IAM_FIPS)
        )
        if self.pacer is not None:
            client.meta.events.register("before-call.iam", partial(_wait_for_turn, self.pacer))
            client.meta.events.register("after-call.iam", partial(_note_pace, self.pacer))
        return client

    def sts(self, credentials: _Keys) -> STSClient:
        """For a question that changes nothing, and so asks no fence: a verb that ends with it has sent nothing."""
        asking = replace(self, fence=lambda: None)
        client: STSClient = asking._client(  # noqa: SLF001 - of the same class
            "sts", credentials, self.parameters.sts_endpoint, self._fips()
        )
        return client

    def _fips(self, *, at: frozenset[str] | None = None) -> Config:
        """The class's choice, in these partitions; None for all."""
        is_used = self.parameters.fips and (at is None or _partition(self.session, self.parameters) in at)
        options: Any = {"use_fips_endpoint": is_used}
        return Config(**options)

    def _client(self, service: Any, credentials: _Keys, url: str, more: Config) -> Any:
        client = self.session.create_client(
            service,
            region_name=self.parameters.region,
            endpoint_url=url or None,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.token or None,
            config=_config(self.limits).merge(more),
        )
        _fence(client, self.fence)
        client.meta.events.register_first("before-parse", _hear_out_a_proxy)
        return client


class _HeldBack(Exception):
    """What the fence raised, on its way through the SDK, which makes one of its own errors of any other."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


def _fence(client: Any, fence: Callable[[], None]) -> None:
    """Has the client's connections ask the fence, once they are made, before each request that they send."""

    def ask() -> None:
        try:
            fence()
        except Exception as error:
            raise _HeldBack(error) from error

    # The SDK has no public way to a client's connections; a test of each kind of connection holds these names.
    http = client._endpoint.http_session  # noqa: SLF001
    manager = http._manager  # noqa: SLF001
    fence_requests(manager, ask)
    # Of this the SDK makes the pool managers of proxies, each when it is first needed.
    http._pool_classes_by_scheme = manager.pool_classes_by_scheme  # noqa: SLF001
    client.meta.events.register_first("needs-retry", _raise_what_the_fence_raised)


def _raise_what_the_fence_raised(caught_exception: Exception | None, **_: object) -> None:
    """Raises what the fence raised as it was."""
    held = getattr(caught_exception, "kwargs", {}).get("error")
    if isinstance(held, _HeldBack):
        raise held.cause


class _PodSession(Session):
    """A session whose own calls, which fetch credentials, have our time limits and the class's endpoint.

    These calls change nothing at AWS, and so ask no fence: a verb that ends with them has sent the store nothing.
    """

    def __init__(self, loader: Loader, region: str, sts_endpoint: str, limits: Limits) -> None:
        super().__init__()
        self.register_component("data_loader", loader)
        self._region, self._sts_endpoint, self._limits = region, sts_endpoint, limits

    def create_client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        """As the SDK's own."""
        kwargs["config"] = _config(self._limits).merge(kwargs.get("config") or Config())
        kwargs["region_name"] = kwargs.get("region_name") or self._region
        if service_name == "sts" and self._sts_endpoint:
            kwargs["endpoint_url"] = self._sts_endpoint
        return super().create_client(service_name, *args, **kwargs)


class _SharedSession(Session):
    """A session for all threads. Its clients may be used by several at once, the SDK's own session may not."""

    def __init__(self, loader: Loader) -> None:
        super().__init__()
        self.register_component("data_loader", loader)
        self._lock = threading.RLock()

    def create_client(self, *args: Any, **kwargs: Any) -> Any:
        """As the SDK's own."""
        with self._lock:
            return super().create_client(*args, **kwargs)

    def get_partition_for_region(self, region_name: str) -> str:
        """As the SDK's own."""
        with self._lock:
            return str(super().get_partition_for_region(region_name))


def _config(limits: Limits) -> Config:
    options: Any = {
        "connect_timeout": limits.connect,
        "read_timeout": limits.read,
        # The core tries again, reading first: a request that was sent may have been carried out.
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        # The class says where to go, not the environment that the provisioner happens to run in.
        "ignore_configured_endpoint_urls": True,
        "use_fips_endpoint": False,
        "use_dualstack_endpoint": False,
        # S3-compatible stores know fewer checksums than AWS. What must have one nevertheless: see `_sum_as_of_old`.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    return Config(**options)


def admin_id(admin: Admin | None) -> str:
    """What tells the administrator's credentials from others; no secret."""
    return admin.access_key if admin else ""


def _where(parameters: Parameters, public: Address) -> str:
    return public.url if parameters.s3_endpoint else f"AWS in {parameters.region}"


def _expect_owner(account: str, params: dict[str, Any], model: Any, **_: object) -> None:
    """Has S3 refuse a bucket of another account in every request that can say so.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html.
    """
    if model.input_shape is not None and "ExpectedBucketOwner" in model.input_shape.members:
        params.setdefault("ExpectedBucketOwner", account)


def _wait_for_turn(pacer: Pacer, **_: object) -> None:
    """Spaces the requests of all workers; the wait is shorter than the request.

    Raises:
        Throttled: it would be longer, because IAM has throttled the account.
    """
    wait = pacer.reserve()
    if wait > LONGEST_WAIT:
        raise Throttled("IAM throttles this AWS account: its requests are spaced", delay=wait)
    time.sleep(wait)


def _note_pace(pacer: Pacer, parsed: Any, **_: object) -> None:
    if parsed.get("Error", {}).get("Code") in THROTTLING:
        pacer.throttled()
    else:
        pacer.succeeded()


def _destination(s3: Any) -> str:
    """Where the SDK sends requests, by its rules for endpoints.

    `meta.endpoint_url` is read from an older table, and is another host with dualstack in some partitions. The SDK has
    no public way to the rules; a test compares them with the table where that is right.
    """
    operation = s3.meta.service_model.operation_model("ListBuckets")
    url, _headers, _properties = s3._resolve_endpoint_ruleset(operation, {}, {})  # noqa: SLF001
    return str(url)


def _from_secret(admin: Admin) -> _Keys:
    return _Keys(admin.access_key, admin.secret_key.reveal(), admin.token.reveal())


def _partition(session: Session, parameters: Parameters) -> str:
    try:
        return session.get_partition_for_region(parameters.region)
    except UnknownRegionError:
        # An S3-compatible store has regions of its own.
        if parameters.tags_on_creation:
            raise
        return "aws"


def _region_of_iam(session: Session, parameters: Parameters) -> str:
    """What requests to IAM are signed for: a partition has one IAM.

    Other stores that verify it want what nearly everyone sends, such as VersityGW (its iammiddleware/auth.go).
    """
    if not parameters.is_aws:
        return TOLERANT_REGION
    partition = _partition(session, parameters)
    known = next(each for each in session.get_data("endpoints")["partitions"] if each["partition"] == partition)
    iam = known["services"].get("iam", {})
    endpoint = iam.get("endpoints", {}).get(iam.get("partitionEndpoint"), {})
    return str(endpoint.get("credentialScope", {}).get("region", parameters.region))


def _sum_as_of_old(request: Any, **_: object) -> None:
    """Gives a request that must have a checksum the one that all stores know, in place of the SDK's CRC32.

    Source: https://github.com/aws/aws-sdk-js-v3/issues/6819. AWS keeps the SDK's: its FIPS endpoints have no MD5.
    """
    sums = [name for name in request.headers if name.lower().startswith(("x-amz-checksum-", "x-amz-sdk-checksum-"))]
    if not sums or not isinstance(request.data, bytes):
        return
    for name in sums:
        del request.headers[name]
    digest = hashlib.md5(request.data, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()


def _hear_out_a_proxy(response_dict: Any, event_name: str, **_: object) -> None:
    """Reads what stands before AWS and fails, or asks for fewer requests, in words that the SDK can't parse.

    Raises:
        Throttled: with the delay that was asked for.
        StoreUnavailable: a failure of its own, such as a gateway's.
    """
    status, headers, body = (response_dict[each] for each in ("status_code", "headers", "body"))
    if status < 300:  # the content of an object may be a stream that is not read yet
        return
    # Pages in S3's place the SDK does parse, and has made a 500 of any status by now.
    is_known_page = event_name.startswith("before-parse.s3.")
    if body.lstrip().startswith(b"<") and (is_known_page or not _is_page(body)):
        return
    told: Any = {"delay": parse_retry_after(headers.get("Retry-After")), "request_id": request_id_in(headers)}
    if status in {429, 503}:
        raise Throttled(f"AWS, or a proxy before it, throttles requests (HTTP {status})", **told)
    if status >= 500:
        raise StoreUnavailable(f"AWS, or a proxy before it, is unavailable (HTTP {status})", **told)


def _is_page(body: bytes) -> bool:
    return body.lstrip()[:20].lower().startswith(_WEB_PAGE)


def _refuse_foreign_answer(response: Any, operation: Any, **_: object) -> None:
    """Refuses three answers that the SDK would take for something else.

    It follows a bucket to another region by itself: the claim would be told the wrong one, and what is done would be
    done elsewhere than the class says. And it takes a web page for a failure that passes, and any redirect for S3's.
    """
    if response is None:
        return
    http, parsed = response
    request_id = request_id_of(parsed)
    if http.status_code in _ELSEWHERE or parsed.get("Error", {}).get("Code") in _ELSEWHERE_CODES:
        raise _elsewhere(http.status_code, parsed, request_id)
    # The SDK has turned the status of a page into 500 by now; the connection knows what it was. A stream is read later.
    is_stream = operation.has_streaming_output and http.status_code < 300
    if not is_stream and http.raw.status < 500 and _is_page(http.content):
        raise RetrySlowly(
            "a web page answers instead of AWS: parameter s3Endpoint must be the address of an API, not of a console",
            request_id=request_id,
        )


def _elsewhere(status: int, parsed: Any, request_id: str) -> ProvisionerError:
    code, headers = parsed.get("Error", {}).get("Code"), parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = parsed.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    if status in _FOR_NOW:
        return NotReady(
            f"S3 is still moving the name of the bucket from one region to another ({code})", request_id=request_id
        )
    # S3 names itself by a code, or where the answer can have no body, by the header.
    if code not in _ELSEWHERE_CODES and not region:
        return RetrySlowly(
            f"a redirect that is not S3's answers instead of it ({code}): the way to AWS, or parameter s3Endpoint, "
            "leads to another server",
            request_id=request_id,
        )
    region = region or "another region"
    message = f"the bucket is in {region}, not where parameter region says: nothing was changed ({code})"
    return Elsewhere(message, region=region, request_id=request_id)
