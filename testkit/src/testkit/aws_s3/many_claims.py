"""Many claims at once, with an IAM that tells S3 late of keys: how long it takes, and with which requests.

    python -m testkit.aws_s3.many_claims --claims 500

Prints a table, in seconds of virtual time. Workers, latency and delay are those of the guarantee in the provisioner's
README. Knows no test.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich import print as show
from rich.table import Table

from libbucket.testing import builders
from testkit.aws_s3.fakes import SECRET
from testkit.aws_s3.requests_by_name import request_name
from testkit.aws_s3.virtual_time import WORKERS, fleet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LATENCY: Final = 0.15
DELAY: Final = 10.0
REGION: Final = "eu-central-1"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of it.

    Attributes:
        bound: claims.
        keys: access keys that there are in the end.
        seconds: until the last claim was bound.
        iam: how many requests of each name went to IAM and STS.
        s3: how many of each name went to S3.
    """

    bound: int
    keys: int
    seconds: float
    iam: Mapping[str, int]
    s3: Mapping[str, int]


def bind(claims: int, *, per_second: float) -> Measured:
    """Binds so many claims of one class at once.

    Args:
        claims: how many.
        per_second: requests that IAM takes before it throttles; 0.0 for any number.
    """
    where = {**SECRET, "region": REGION}
    requests = [builders.options(name=f"claim-{n}", parameters=where) for n in range(claims)]
    with fleet(latency=LATENCY) as workers:
        workers.s3.iam.keys_after = workers.s3.iam.policies_after = DELAY
        workers.s3.iam.per_second = per_second
        workers.serve(requests)
        return Measured(
            bound=len(workers.bound),
            keys=len(workers.s3.iam.keys),
            seconds=workers.time.now,
            iam=Counter(workers.s3.iam.actions),
            s3=Counter(map(_name, workers.s3.requests)),
        )


def _name(request: str) -> str:
    method, _, rest = request.partition(" ")
    bucket, _, query = rest.partition("?")
    return request_name(method, "/", query, {"Host": f"{bucket}.s3.{REGION}.amazonaws.com".lstrip(".")}, b"")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m testkit.aws_s3.many_claims")
    parser.add_argument("--claims", type=int, default=500)
    claims = parser.parse_args(arguments).claims
    table = Table("IAM", "bound", "seconds", "requests per claim")
    for per_second, name in ((0.0, "does not throttle"), (15.0, "throttles beyond 15 requests per second")):
        found = bind(claims, per_second=per_second)
        requests = "\n".join(f"{each} {count / claims:.2f}" for each, count in {**found.iam, **found.s3}.items())
        table.add_row(name, f"{found.bound} of {claims}", f"{found.seconds:.0f}", requests)
    show(f"{WORKERS} workers, {LATENCY * 1000:.0f} ms for each request, {DELAY:.0f} s until S3 knows keys and policies")
    show(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
