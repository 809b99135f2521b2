"""`libbucket doctor` on a real API server: what it finds, and that it removes only what is asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from libbucket._cli.commands import main

if TYPE_CHECKING:
    from click.testing import Result

    from testkit.cluster.memory_environment import MemoryEnvironment

CANARY = "canary-7f3a91"


def doctor(environment: MemoryEnvironment, *arguments: str, answers: str = "") -> Result:
    command = ["doctor", "--kubeconfig", str(environment.cluster.kubeconfig), *arguments]
    ran = CliRunner().invoke(main, command, input=answers, standalone_mode=False)
    assert ran.exception is None, ran.exception
    assert CANARY not in ran.output
    return ran


def findings(environment: MemoryEnvironment) -> list[dict[str, Any]]:
    """Those about this test: the API server is shared."""
    found: list[dict[str, Any]] = json.loads(doctor(environment, "--json").stdout)
    own = (environment.namespace, environment.class_name, environment.provisioner_name)
    return [one for one in found if any(name in one["message"] for name in own)]


def test_a_class_that_nobody_serves_and_a_missing_secret(environment: MemoryEnvironment) -> None:
    name = environment.make_class(
        f"{environment.class_name}-2", parameters={"secretName": "admin", "secretNamespace": environment.namespace}
    )
    environment.claim(storage_class=name)
    found = findings(environment)
    secrets = f"/api/v1/namespaces/{environment.namespace}/secrets"
    environment.admin.create(secrets, {"metadata": {"name": "admin"}, "stringData": {"key": CANARY}})
    repaired = findings(environment)
    environment.delete_class(name)

    assert [one["check"] for one in found] == ["classes", "administrators' Secrets"]
    assert [one["check"] for one in repaired] == ["classes"]


@pytest.fixture
def orphan(environment: MemoryEnvironment) -> str:
    """An ObjectBucket as a backup tool restores it: everything but its status, and a claim with another uid."""
    with environment.core():
        environment.claim()
        environment.wait_bound()
    body = environment.admin.get(environment.ob_path())
    for path in (environment.claim_path(), environment.ob_path()):
        environment.admin.patch(path, {"metadata": {"finalizers": []}})
        environment.admin.delete(path)
        environment.admin.wait_gone(path)
    kept = {key: body["metadata"][key] for key in ("name", "labels", "annotations", "finalizers")}
    environment.admin.create("/apis/objectbucket.io/v1alpha1/objectbuckets", {**body, "metadata": kept, "status": {}})
    return str(body["spec"]["endpoint"]["bucketName"])


def test_an_orphan_is_removed_only_after_its_buckets_name_was_typed(
    environment: MemoryEnvironment, orphan: str
) -> None:
    reported = [one for one in findings(environment) if one["check"] == "orphans"]
    kept = [doctor(environment, "--remove-orphans", answers=answer) for answer in ("\n" * 9, "y\n" * 9)]
    assert "deletionTimestamp" not in environment.admin.get(environment.ob_path())["metadata"]
    answers = "".join(f"{orphan}\n" for _ in range(9))
    removed = doctor(environment, "--remove-orphans", answers=answers)
    with environment.core():
        environment.admin.wait_gone(environment.ob_path())

    assert len(reported) == 1
    assert "without a phase, as after a restore" in reported[0]["message"]
    assert all("kept" in ran.output and f"deletes bucket {orphan} WITH ALL DATA" in ran.output for ran in kept)
    assert "deletion requested" in removed.output
    assert orphan not in environment.store.buckets


def test_without_an_answer_nothing_is_removed(environment: MemoryEnvironment, orphan: str) -> None:
    command = ["doctor", "--remove-orphans", "--kubeconfig", str(environment.cluster.kubeconfig)]
    ran = CliRunner().invoke(main, command, input="")
    left = environment.admin.get(environment.ob_path())
    environment.admin.patch(environment.ob_path(), {"metadata": {"finalizers": []}})
    environment.admin.delete(environment.ob_path())

    assert ran.exit_code == 1
    assert orphan in environment.store.buckets
    assert "deletionTimestamp" not in left["metadata"]
