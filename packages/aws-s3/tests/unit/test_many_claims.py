"""Many claims at once, with an IAM that is slow to tell S3 and throttles: in virtual time."""

from __future__ import annotations

import pytest

from libbucket.testing import builders
from testkit.aws_s3.fakes import SECRET
from testkit.aws_s3.virtual_time import fleet

CLAIMS = 30
"""500 behave alike, and take minutes of a processor."""


@pytest.mark.parametrize("per_second", [0.0, 15.0], ids=["unlimited", "throttled"])
def test_claims_are_bound_in_time_while_keys_spread_and_no_worker_waits(per_second: float) -> None:
    where = {**SECRET, "region": "eu-central-1"}
    requests = [builders.options(name=f"claim-{n}", parameters=where) for n in range(CLAIMS)]
    with fleet(latency=0.15) as workers:
        workers.s3.iam.keys_after = workers.s3.iam.policies_after = 10.0
        workers.s3.iam.per_second = per_second
        workers.serve(requests)
        seconds, calls = workers.time.now, len(workers.s3.iam.actions) / CLAIMS
    assert len(workers.bound) == CLAIMS
    assert seconds < 30 + 0.3 * CLAIMS
    assert calls < 4
    assert len(workers.s3.iam.keys) == CLAIMS
