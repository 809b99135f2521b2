"""Requests per claim, as counted by the API server itself."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from libbucket.testing.controlplane import control_plane
from libbucket.testing.provisioner_process import provisioner_process
from testkit.benchmark.api_requests import settled_requests
from testkit.benchmark.load import NAMESPACE, RECONCILES, STORE_CALLS, Load, metric, wait_idle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from libbucket.testing.controlplane import ControlPlane
    from libbucket.testing.provisioner_process import ProvisionerProcess

CLAIMS = 20


@pytest.fixture(scope="module")
def quiet(crd_directories: Sequence[Path]) -> Iterator[ControlPlane]:
    """A control plane without other clients, garbage collector included: the counters do not tell clients apart."""
    if os.environ.get("LIBBUCKET_TEST_CONTEXT"):
        pytest.skip("needs a control plane of its own")
    with control_plane(crds=crd_directories, controllers=False) as plane:
        yield plane


@pytest.fixture
def provisioner(quiet: ControlPlane) -> Iterator[ProvisionerProcess]:
    command = [sys.executable, "-m", "libbucket.testing.memory"]
    with provisioner_process(command, kubeconfig=quiet.kubeconfig) as process:
        yield process


@pytest.fixture
def unwatching(quiet: ControlPlane) -> Iterator[ProvisionerProcess]:
    """A provisioner that neither lists nor watches Secrets."""
    command = [sys.executable, "-m", "libbucket.testing.memory", "--watch-secrets=false"]
    with provisioner_process(command, kubeconfig=quiet.kubeconfig) as process:
        yield process


@pytest.fixture(scope="module")
def load(quiet: ControlPlane) -> Load:
    return Load(quiet)


def test_a_claim_costs_these_api_writes_and_no_reads(load: Load, provisioner: ProvisionerProcess) -> None:
    bound = load.bind(provisioner, CLAIMS)
    deleted = load.delete(provisioner, CLAIMS)

    # Bound; and Pending for those that have waited for longer than a moment.
    assert CLAIMS <= bound.requests.pop(("PATCH", "objectbucketclaims/status")) <= 2 * CLAIMS
    assert bound.requests == {
        ("PATCH", "objectbucketclaims"): CLAIMS,  # finalizer, label, names
        ("POST", "objectbuckets"): CLAIMS,  # the intent
        ("PATCH", "objectbuckets"): CLAIMS,  # what the store answered
        ("PATCH", "objectbuckets/status"): CLAIMS,
        ("POST", "secrets"): CLAIMS,
        ("POST", "configmaps"): CLAIMS,
        ("POST", "events"): CLAIMS,
    }
    assert deleted.requests == {
        ("PATCH", "objectbuckets/status"): CLAIMS,  # Released
        ("DELETE", "secrets"): CLAIMS,
        ("DELETE", "configmaps"): CLAIMS,
        ("DELETE", "objectbuckets"): CLAIMS,
        ("PATCH", "objectbuckets"): CLAIMS,  # its finalizer
        ("PATCH", "objectbucketclaims"): CLAIMS,  # its finalizer
    }


def test_a_bound_claim_costs_nothing_at_a_restart(
    quiet: ControlPlane, load: Load, provisioner: ProvisionerProcess
) -> None:
    load.bind(provisioner, CLAIMS)
    provisioner.stop()
    before = settled_requests(quiet)

    provisioner.start()
    wait_idle(provisioner, reconciles=CLAIMS)

    # The new process's store is empty, too: a provision call for a bound claim would create a bucket.
    assert metric(provisioner.metrics(), STORE_CALLS) == 0
    asked = settled_requests(quiet) - before
    assert {verb for verb, _ in asked} == {"LIST"}
    assert asked.total() < CLAIMS
    load.delete(provisioner, CLAIMS)


def test_without_a_watch_on_secrets_only_a_deletion_costs_one_read_more(
    quiet: ControlPlane, load: Load, unwatching: ProvisionerProcess
) -> None:
    bound = load.bind(unwatching, CLAIMS)
    before, checks = settled_requests(quiet), metric(unwatching.metrics(), RECONCILES)
    for number in range(CLAIMS):
        quiet.admin.patch(claim_path(number), {"metadata": {"annotations": {"example.com/touched": "yes"}}})
    wait_idle(unwatching, reconciles=int(checks) + CLAIMS)
    touched = settled_requests(quiet) - before
    deleted = load.delete(unwatching, CLAIMS)

    assert bound.requests["GET", "secrets"] == 0
    assert touched == {("PATCH", "objectbucketclaims"): CLAIMS}, "only the test's own"
    assert deleted.requests["GET", "secrets"] == CLAIMS
    assert deleted.requests["DELETE", "secrets"] == CLAIMS


def test_without_a_watch_on_secrets_a_restart_lists_none_and_reads_none(
    quiet: ControlPlane, load: Load, unwatching: ProvisionerProcess
) -> None:
    load.bind(unwatching, CLAIMS)
    unwatching.stop()
    before = settled_requests(quiet)

    unwatching.start()
    wait_idle(unwatching, reconciles=CLAIMS)

    assert metric(unwatching.metrics(), STORE_CALLS) == 0
    asked = settled_requests(quiet) - before
    assert {verb for verb, _ in asked} == {"LIST"}
    assert "secrets" not in {resource for _, resource in asked}
    load.delete(unwatching, CLAIMS)


def claim_path(number: int) -> str:
    return f"/apis/objectbucket.io/v1alpha1/namespaces/{NAMESPACE}/objectbucketclaims/claim-{number}"
