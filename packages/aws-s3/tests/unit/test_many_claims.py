"""Many claims at once, with an IAM that is slow to tell S3 and throttles: in virtual time."""

from __future__ import annotations

import pytest

from testkit.aws_s3.many_claims import bind

CLAIMS = 30
"""500 behave alike, and take minutes of a processor: `python -m testkit.aws_s3.many_claims`."""


@pytest.mark.parametrize("per_second", [0.0, 15.0], ids=["unlimited", "throttled"])
def test_claims_are_bound_in_time_while_keys_spread_and_no_worker_waits(per_second: float) -> None:
    found = bind(CLAIMS, per_second=per_second)

    assert (found.bound, found.keys) == (CLAIMS, CLAIMS)
    assert found.seconds < 30 + 0.3 * CLAIMS
    assert sum(found.iam.values()) / CLAIMS < 4
    assert sum(found.s3.values()) / CLAIMS < 8, "five, and one for each try of a key that S3 does not know yet"
