"""A provisioner and all of AWS in memory, with one clock for both, which stands still until it is turned."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from aws_s3_provisioner.pending import PendingKeys
from aws_s3_provisioner.provisioner import AwsS3Provisioner
from aws_s3_provisioner.request import Patience
from libbucket import RetrySoon, Services
from libbucket.testing import builders
from testkit.aws_s3.fakes import HELD, SECRET
from testkit.aws_s3.regional_s3 import RegionalS3, regional_s3

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libbucket import BucketOptions, ObjectBucket
    from testkit.aws_s3.fake_iam import FakeIam

_MOST_CALLS = 30
_BACK_OFF = 5.0


class Clock:
    """Seconds; stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class InMemoryAws:
    """AWS, and a provisioner whose workers never wait.

    Attributes:
        s3: with its IAM.
        clock: of everything.
        provisioner: with the default patience.
    """

    def __init__(self, s3: RegionalS3, clock: Clock) -> None:
        self.s3 = s3
        self.clock = clock
        self.provisioner = self._new_provisioner()

    @property
    def iam(self) -> FakeIam:
        """The account's IAM."""
        return self.s3.iam

    def restart(self) -> None:
        """The provisioner forgets all that it held in memory."""
        self.provisioner = self._new_provisioner()

    def bind(self, request: BucketOptions, *, is_greenfield: bool = True) -> tuple[ObjectBucket, list[float]]:
        """What the verb answers in the end, called as the core does; and the delays before each further call."""
        verb = self.provisioner.provision if is_greenfield else self.provisioner.grant
        delays: list[float] = []
        for _ in range(_MOST_CALLS):
            try:
                return verb(request), delays
            except RetrySoon as error:
                delays.append(error.delay or _BACK_OFF)
                self.clock.now += delays[-1]
        raise AssertionError(f"never bound: {delays}")

    def _new_provisioner(self) -> AwsS3Provisioner:
        services = Services(read_secret=lambda *_: HELD)
        return AwsS3Provisioner(
            services,
            patience=Patience(sleep=_never, clock=self.clock),
            pending=PendingKeys(self.clock),
        )


def request_for(
    region: str = "eu-central-1", *, config: Mapping[str, str] | None = None, **parameters: str
) -> BucketOptions:
    """A new claim for a bucket `photos`, with this `additionalConfig`."""
    where = {**SECRET, "region": region, **parameters}
    return builders.options(bucket_name="photos", parameters=where, config=config)


def key_of(answer: ObjectBucket) -> str:
    """The id of the key that a claim got."""
    authentication = answer.connection.authentication
    assert authentication
    assert authentication.access_keys
    return authentication.access_keys.access_key_id


@contextmanager
def in_memory_aws() -> Iterator[InMemoryAws]:
    """AWS's hosts are answered from memory until the block ends."""
    clock = Clock()
    with regional_s3(clock) as s3, pytest.MonkeyPatch.context() as patch:
        # Requests to IAM are spaced by the real clock; see test_pacing.py.
        patch.setattr("aws_s3_provisioner.hooks.wait_for_turn", lambda *_args, **_event: None)
        yield InMemoryAws(s3, clock)


def _never(_seconds: float) -> None:
    raise AssertionError("a worker waited")
