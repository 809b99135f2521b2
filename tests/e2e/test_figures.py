"""Time until a container is ready, and its memory, idle and with claims: printed, and compared with the chart.

    nox -s e2e -- -k figures --claims 1000

measures the figures of docker/README.md.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from testkit.container_images.leftovers import forget_claims
from testkit.container_images.pods import wait_until

if TYPE_CHECKING:
    import pytest

    from testkit.cluster.store_environment import StoreEnvironment
    from testkit.container_images.installation import Installation

MEBIBYTE = 2**20


def value(metrics: str, name: str, **labels: str) -> float:
    """The sum of all samples of that name with these labels."""
    samples = [each for family in text_string_to_metric_families(metrics) for each in family.samples]
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


def mebibytes(metrics: str) -> float:
    return value(metrics, "process_resident_memory_bytes") / MEBIBYTE


def test_start_time_and_memory_stay_within_what_the_chart_requests(
    environment: StoreEnvironment,
    installation: Installation,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    claims, storage_class = request.config.getoption("--claims"), environment.make_class()
    began = time.monotonic()
    with installation.pod() as pod:
        ready = time.monotonic() - began
        idle = mebibytes(pod.metrics())
        for number in range(claims):
            environment.claim(f"claim-{number}", storage_class, generateBucketName="figures")
        wait_until(lambda: value(pod.metrics(), "libbucket_claims", phase="Bound") == claims, seconds=60 + claims)
        bound, loaded = time.monotonic() - began - ready, mebibytes(pod.metrics())
    forget_claims(environment.admin, environment.namespace)

    with capsys.disabled():
        print(f"\n{installation.store}: ready after {ready:.1f} s; {idle:.0f} MiB idle,", end=" ")
        print(f"{loaded:.0f} MiB with {claims} claims, which were bound in {bound:.1f} s")
    assert ready < installation.start_seconds
    assert idle < installation.requested_mebibytes
    assert loaded < installation.requested_mebibytes
