"""How one client of the SDK is made: time limits, no retries of the SDK, the fence before each request, and hooks.

Used by `client`. Knows parameters and credentials, and nothing of what is asked for with them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.session import Session

from aws_s3_provisioner import hooks
from aws_s3_provisioner.partitions import partition_of, region_of_iam
from libbucket import fence_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.loaders import Loader
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts import STSClient

    from aws_s3_provisioner.pacing import Pacer
    from aws_s3_provisioner.parameters import Parameters

# Elsewhere the SDK would make a host up: https://docs.aws.amazon.com/general/latest/gr/iam-service.html
_WITH_IAM_FIPS: Final = frozenset({"aws", "aws-us-gov"})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a request may take, in seconds."""

    connect: float = 5.0
    read: float = 30.0


@dataclass(frozen=True)
class Keys:
    """Credentials as the SDK's clients take them; never printed."""

    access_key: str
    secret_key: str
    token: str

    def __repr__(self) -> str:
        return "Keys(**********)"


@dataclass(frozen=True)
class ClientMaker:
    """Makes clients of one class."""

    session: Session
    parameters: Parameters
    limits: Limits
    fence: Callable[[], None]
    pacer: Pacer | None = None
    bucket_owner: str = ""

    def s3(self, credentials: Keys) -> S3Client:
        """A client of S3."""
        style = "path" if self.parameters.path_style else "auto"
        options: Any = {"addressing_style": style, "us_east_1_regional_endpoint": "regional"}
        endpoints: Any = {
            "use_fips_endpoint": self.parameters.fips,
            "use_dualstack_endpoint": self.parameters.dualstack,
        }
        more = Config(s3=options, **endpoints)
        client: S3Client = self._client("s3", credentials, self.parameters.s3_endpoint, more)
        client.meta.events.register_first("needs-retry.s3", hooks.refuse_foreign_answer)
        if not self.parameters.tags_on_creation:
            client.meta.events.register_first("before-sign.s3", hooks.sum_as_of_old)
        if self.bucket_owner:
            client.meta.events.register("before-parameter-build.s3", partial(hooks.expect_owner, self.bucket_owner))
        return client

    def iam(self, credentials: Keys) -> IAMClient:
        """A client of IAM."""
        parameters = self.parameters
        # The SDK signs for the one region of a partition's IAM only where it chose the endpoint itself.
        region = region_of_iam(self.session, parameters) if parameters.iam_endpoint else parameters.region
        maker = replace(self, parameters=replace(parameters, region=region))
        client: IAMClient = maker._client(  # noqa: SLF001 - of the same class
            "iam", credentials, parameters.iam_endpoint, self._fips(at=_WITH_IAM_FIPS)
        )
        if self.pacer is not None:
            client.meta.events.register("before-call.iam", partial(hooks.wait_for_turn, self.pacer))
            client.meta.events.register("after-call.iam", partial(hooks.note_pace, self.pacer))
        return client

    def sts(self, credentials: Keys) -> STSClient:
        """For a question that changes nothing, and so asks no fence: a verb that ends with it has sent nothing."""
        asking = replace(self, fence=lambda: None)
        client: STSClient = asking._client(  # noqa: SLF001 - of the same class
            "sts", credentials, self.parameters.sts_endpoint, self._fips()
        )
        return client

    def _fips(self, *, at: frozenset[str] | None = None) -> Config:
        """The class's choice, in these partitions; None for all."""
        is_used = self.parameters.fips and (at is None or partition_of(self.session, self.parameters) in at)
        options: Any = {"use_fips_endpoint": is_used}
        return Config(**options)

    def _client(self, service: Any, credentials: Keys, url: str, more: Config) -> Any:
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
        client.meta.events.register_first("before-parse", hooks.hear_out_a_proxy)
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


class PodSession(Session):
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


class SharedSession(Session):
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
        # S3-compatible stores know fewer checksums than AWS. What must have one nevertheless: see `sum_as_of_old`.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    return Config(**options)
