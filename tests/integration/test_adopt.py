"""`libbucket adopt` on a real API server: a bucket gets to another claim only with two statements that agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from libbucket._cli.commands import main
from libbucket.testing.memory_store import Bucket
from libbucket.types import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from testkit.cluster.memory_environment import MemoryEnvironment

OTHER_CLUSTER = "0b9f1f6e-5a5c-4f3b-9d8e-111111111111"
EARLIER_UID = "7a0d3c52-0d0e-4b8e-8a57-222222222222"


def adopt(
    environment: MemoryEnvironment, *arguments: str, answer: str = "y\n", timeout: float = 20, name: str = "photos"
) -> Result:
    claim = f"{environment.namespace}/{name}"
    command = ["adopt", claim, "--kubeconfig", str(environment.cluster.kubeconfig), "--timeout", str(timeout)]
    return CliRunner().invoke(main, [*command, *arguments], input=answer, standalone_mode=False)


def cluster_id(environment: MemoryEnvironment) -> str:
    return str(environment.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"])


def a_bucket(environment: MemoryEnvironment, name: str, *, cluster: str = "", uid: str = EARLIER_UID) -> Bucket:
    """A bucket with content, and the ownership tags of a claim that is gone."""
    owner = Owner(cluster_id=cluster or cluster_id(environment), namespace="shop", name="photos", uid=uid)
    bucket = Bucket(tags=owner.ownership_tags() if uid else {})
    environment.store.buckets[name] = bucket
    environment.store.administrator().put(name, "a.jpg", b"content")
    return bucket


@pytest.fixture
def refused(environment: MemoryEnvironment) -> Iterator[str]:
    """The name of a bucket that the claim names, and is not given; the core runs."""
    a_bucket(environment, environment.namespace)
    with environment.core():
        environment.claim(spec={"bucketName": environment.namespace})
        environment.wait_reason("BucketExists")
        yield environment.namespace


def test_the_bucket_of_an_earlier_claim_is_adopted_with_its_content(
    environment: MemoryEnvironment, refused: str
) -> None:
    ran = adopt(environment, "--bucket", refused, "--earlier-uid", EARLIER_UID)
    claim = environment.wait_bound()
    ob = environment.admin.get(environment.ob_path())

    assert (ran.return_value, ran.exception) == (0, None), ran.output
    assert environment.store.buckets[refused].tags["objectbucket_claim_uid"] == claim["metadata"]["uid"]
    assert environment.store.buckets[refused].objects["a.jpg"] == [b"content"]
    assert ob["spec"]["reclaimPolicy"] == "Retain"
    environment.wait_event("Normal", "Reclaimed")
    assert [value for value in environment.secret().values() if value in ran.output] == []


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--earlier-uid", EARLIER_UID[::-1]], "y\n"),
        (["--earlier-uid", EARLIER_UID, "--earlier-cluster", OTHER_CLUSTER], "n\n"),
        (["--earlier-uid", EARLIER_UID], "\n"),
        (["--earlier-uid", EARLIER_UID], ""),
        (["--untagged"], "y\n"),
        (["--untagged"], "BUCKET\n"),
    ],
)
def test_a_wrong_statement_or_answer_changes_nothing(
    environment: MemoryEnvironment, refused: str, arguments: list[str], answer: str
) -> None:
    before = dict(environment.store.buckets[refused].tags)
    ran = adopt(environment, "--bucket", refused, *arguments, answer=answer.replace("BUCKET", refused), timeout=2)

    assert ran.return_value == 1 or ran.exception is not None
    environment.wait_reason("BucketExists")
    assert environment.store.buckets[refused].tags == before


def test_an_adoption_that_the_store_refused_can_be_withdrawn(environment: MemoryEnvironment, refused: str) -> None:
    refusal = adopt(environment, "--bucket", refused, "--earlier-uid", EARLIER_UID[::-1], timeout=1)
    undone = adopt(environment, "--undo")
    again = adopt(environment, "--undo")
    environment.delete_claim()

    assert "BucketExists" in str(refusal.exception)
    assert (undone.return_value, "withdrawn" in undone.output) == (0, True)
    assert "no adoption waits" in str(again.exception)
    assert environment.store.buckets[refused].tags["objectbucket_claim_uid"] == EARLIER_UID, "deleted, and kept"


def test_a_bucket_of_another_cluster_is_adopted_and_by_another_claim_again(environment: MemoryEnvironment) -> None:
    bucket = a_bucket(environment, environment.namespace, cluster=OTHER_CLUSTER)
    named = ["--bucket", environment.namespace, "--earlier-uid", EARLIER_UID]
    with environment.core():
        environment.claim(spec={"bucketName": environment.namespace})
        environment.wait_reason("BucketExists")
        without = adopt(environment, *named, timeout=1)
        ran = adopt(environment, *named, "--earlier-cluster", OTHER_CLUSTER)
        first = environment.wait_bound()["metadata"]["uid"]
        environment.delete_claim()
        kept = environment.store.administrator().get(environment.namespace, "a.jpg")
        environment.claim("other", spec={"bucketName": environment.namespace})
        environment.wait_reason("BucketExists", "other")
        back = adopt(environment, "--bucket", environment.namespace, "--earlier-uid", first, name="other")
        second = environment.wait_bound("other")["metadata"]["uid"]

    assert "BucketExists" in str(without.exception)
    assert (ran.return_value, back.return_value) == (0, 0), ran.output + back.output
    assert f"--earlier-uid {first}" in ran.output
    assert kept == b"content"
    assert bucket.tags["objectbucket_claim_uid"] == second
    assert bucket.tags["objectbucket_cluster_id"] == cluster_id(environment)


def test_a_bucket_without_tags_is_adopted_after_its_name_was_typed(environment: MemoryEnvironment) -> None:
    bucket = a_bucket(environment, environment.namespace, uid="")
    with environment.core():
        environment.claim(spec={"bucketName": environment.namespace})
        environment.wait_reason("BucketExists")
        arguments = ["--bucket", environment.namespace, "--untagged"]
        ran = adopt(environment, *arguments, answer=f"{environment.namespace}\n")
        claim = environment.wait_bound()

    assert ran.return_value == 0, ran.output
    assert bucket.tags["objectbucket_claim_uid"] == claim["metadata"]["uid"]


def test_a_bucket_of_a_living_claim_is_refused_by_the_command_and_by_the_core(environment: MemoryEnvironment) -> None:
    with environment.core():
        owner = environment.claim("owner")
        bucket = environment.wait_bound("owner")["spec"]["bucketName"]
        environment.claim(spec={"bucketName": bucket})
        environment.wait_reason("BucketExists")
        uid = owner["metadata"]["uid"]
        ran = adopt(environment, "--bucket", bucket, "--earlier-uid", uid)
        # As if an administrator wrote the ObjectBucket directly.
        path = environment.ob_path()
        record = environment.admin.get(path)["metadata"]["annotations"]["objectbucket.io/record"]
        claimed = record.replace('"earlierUids":[]', f'"earlierUids":["{uid}"]').replace(
            '"adopted":false', '"adopted":true'
        )
        assert claimed != record
        environment.admin.patch(path, {"metadata": {"annotations": {"objectbucket.io/record": claimed}}})
        blocked = environment.wait_claim(lambda claim: "which exists and keeps it" in str(claim["status"]))

    assert f"{environment.namespace}/owner has that uid and exists" in str(ran.exception)
    assert blocked["status"]["phase"] != "Bound"
    assert environment.store.buckets[bucket].tags["objectbucket_claim_uid"] == uid


def test_a_mistyped_name_creates_no_bucket(environment: MemoryEnvironment) -> None:
    name = f"{environment.namespace}-typo"
    environment.claim(spec={"bucketName": name})
    with environment.core():
        environment.wait_bound()
        environment.delete_claim()
    assert name not in environment.store.buckets
    environment.claim(spec={"bucketName": name})
    ran = adopt(environment, "--bucket", name, "--earlier-uid", EARLIER_UID, timeout=0)
    with environment.core():
        environment.wait_reason("BucketLost")

    assert "no provisioner has worked on it" in str(ran.exception)
    assert name not in environment.store.buckets
