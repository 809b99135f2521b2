"""`libbucket doctor` on a real API server: what it finds, and that it removes only what is asked for."""

from __future__ import annotations

import json
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from libbucket._cli.commands import main
from libbucket._run.main import Program
from libbucket._run.main import main as run_program
from libbucket.testing.memory import MemoryProvisioner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    from libbucket.testing.controlplane import ControlPlane
    from testkit.cluster.memory_environment import MemoryEnvironment

ROOT = Path(__file__).parents[2]
CANARY = "canary-7f3a91"


MANY = 500
"""Answers: what other tests have left in the cluster is asked about as well."""


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
def installed(environment: MemoryEnvironment) -> Iterator[None]:
    """What `deploy/minio` installs for RBAC, a pod of its Deployment, and the Lease that this holds."""
    text = (ROOT / "deploy/minio/manifests.yaml").read_text()
    text = re.sub(r"libbucket-minio(?!\.io)", environment.namespace, text)  # not in the name of the Lease
    found = [one for one in yaml.safe_load_all(text) if one]
    account = [one for one in found if one["kind"] == "ServiceAccount" or one["apiVersion"].startswith("rbac.")]
    template = next(one for one in found if one["kind"] == "Deployment")["spec"]["template"]
    meta = {"name": "provisioner", "namespace": environment.namespace, "labels": template["metadata"]["labels"]}
    for one in account:
        environment.admin.apply(one)
    environment.admin.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]})
    environment.make_lease("minio.io/bucket")
    yield
    environment.admin.delete(f"/api/v1/namespaces/{environment.namespace}/pods/provisioner?gracePeriodSeconds=0")
    for one in account:
        if one["kind"].startswith("ClusterRole"):
            plural = f"{one['kind'].lower()}s"
            environment.admin.delete(f"/apis/rbac.authorization.k8s.io/v1/{plural}/{one['metadata']['name']}")


def test_the_permissions_of_our_own_manifests_are_sufficient(environment: MemoryEnvironment, installed: None) -> None:
    """Their Role names the one Lease, and a review that names none is denied."""
    del installed
    assert [one for one in findings(environment) if one["check"] == "permissions"] == []
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{environment.namespace}/roles"
    (found,) = environment.admin.items(role)
    rules = [{**one, "verbs": ["get"]} if "resourceNames" in one else one for one in found["rules"]]
    environment.admin.patch(f"{role}/{found['metadata']['name']}", {"rules": rules})
    environment.until(lambda: any(one["check"] == "permissions" for one in findings(environment)))
    (problem,) = (one for one in findings(environment) if one["check"] == "permissions")

    assert "update leases.coordination.k8s.io in namespace" in problem["message"]


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
    kept = [doctor(environment, "--remove-orphans", answers=answer) for answer in ("\n" * MANY, "y\n" * MANY)]
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


@pytest.fixture
def report(environment: MemoryEnvironment, tmp_path: Path) -> Path:
    """What the provisioner's program lists: a bucket whose claim and ObjectBucket were removed by force."""
    with environment.core():
        environment.claim()
        environment.wait_bound()
        environment.claim("music")
        environment.wait_bound("music")
    for path in (environment.claim_path(), environment.ob_path()):
        environment.admin.patch(path, {"metadata": {"finalizers": []}})
        environment.admin.delete(path)
        environment.admin.wait_gone(path)
    return listed(environment, tmp_path)


def listed(environment: MemoryEnvironment, folder: Path) -> Path:
    program = Program(
        factory=lambda services: MemoryProvisioner(services, store=environment.store),
        name="test",
        provisioner_name=environment.provisioner_name,
        version="1",
    )
    with redirect_stdout(StringIO()) as printed:
        flags = ["--kubeconfig", str(environment.cluster.kubeconfig), "--list-orphans", "--log-format=json"]
        assert run_program(program, flags) == 0
    (folder / "orphans.json").write_text(printed.getvalue())
    return folder / "orphans.json"


def bucket_in(report: Path) -> str:
    (line,) = report.read_text().splitlines()
    return str(json.loads(line)["bucket"])


def test_a_bucket_of_a_store_report_is_removed_with_its_identity_after_its_name_was_typed(
    environment: MemoryEnvironment, report: Path
) -> None:
    bucket, identities = bucket_in(report), len(environment.store.identities)
    told = doctor(environment, "--json", "--store-report", str(report))
    (found,) = (one for one in json.loads(told.stdout) if bucket in one["message"])
    given = ("--store-report", str(report), "--remove-orphans")
    kept = doctor(environment, *given, answers="\n" * MANY)
    assert bucket in environment.store.buckets
    removed = doctor(environment, *given, answers=f"{bucket}\n" * MANY)
    with environment.core():
        environment.until(lambda: bucket not in environment.store.buckets)
        environment.until(lambda: not own_buckets(environment, bucket))

    assert (found["check"], found["result"]) == ("stores", "problem")
    assert "--remove-orphans, to delete it." in found["next_step"]
    assert "libbucket adopt" in found["next_step"]
    assert f"deletes bucket {bucket} WITH ALL DATA" in kept.output
    assert "kept" in kept.output
    assert "deletion requested" in removed.output
    assert len(environment.store.identities) == identities - 1
    assert environment.get_claim("music")["status"]["phase"] == "Bound"


def own_buckets(environment: MemoryEnvironment, bucket: str) -> list[str]:
    every = environment.admin.items("/apis/objectbucket.io/v1alpha1/objectbuckets")
    return [one["metadata"]["name"] for one in every if one["spec"]["endpoint"]["bucketName"] == bucket]


def test_a_bucket_that_was_adopted_since_the_report_is_not_offered(
    environment: MemoryEnvironment, report: Path
) -> None:
    bucket, uid = bucket_in(report), json.loads(report.read_text())["uid"]
    with environment.core():
        environment.claim(spec={"bucketName": bucket})
        environment.wait_reason("BucketExists")
        path = str(environment.cluster.kubeconfig)
        key = f"{environment.namespace}/photos"
        command = ["adopt", key, "--kubeconfig", path, "--bucket", bucket, "--earlier-uid", uid]
        CliRunner().invoke(main, command, input=f"y\n{bucket}\n", standalone_mode=False)
        environment.wait_bound()
        told = doctor(environment, "--store-report", str(report), "--remove-orphans", answers=f"{bucket}\n" * MANY)
    assert "deletion requested" not in told.output
    assert bucket in environment.store.buckets


def test_a_forged_report_deletes_no_bucket_of_another_owner(environment: MemoryEnvironment, report: Path) -> None:
    """Here of a claim of another cluster, which no ObjectBucket of this one names."""
    orphan, foreign = bucket_in(report), "of-another-cluster"
    tags = environment.store.buckets[orphan].tags
    environment.store.buckets[foreign] = type(environment.store.buckets[orphan])(
        tags={**tags, "objectbucket_cluster_id": "another"}
    )
    report.write_text(report.read_text().replace(f'"bucket": "{orphan}"', f'"bucket": "{foreign}"'))
    doctor(environment, "--store-report", str(report), "--remove-orphans", answers=f"{foreign}\n" * MANY)
    assert own_buckets(environment, foreign)
    with environment.core():
        environment.until(lambda: not own_buckets(environment, foreign))
    assert foreign in environment.store.buckets


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace('"cluster": "', '"cluster": "x'), "of another cluster"),
        (lambda _text: "bucket photos of claim a/b", "line 1: not what a provisioner prints"),
        (lambda _text: "\udc80", "line 1: not what a provisioner prints"),
    ],
    ids=["another-cluster", "text", "binary"],
)
def test_a_report_that_says_nothing_of_this_cluster_is_refused_in_a_sentence(
    environment: MemoryEnvironment, report: Path, change: Callable[[str], str], problem: str
) -> None:
    report.write_bytes(change(report.read_text()).encode(errors="surrogateescape"))
    ran = CliRunner().invoke(
        main, ["doctor", "--kubeconfig", str(environment.cluster.kubeconfig), "--store-report", str(report)]
    )
    assert ran.exit_code != 0
    assert problem in ran.output


def test_a_report_from_standard_input_can_not_be_asked_about(environment: MemoryEnvironment) -> None:
    command = ["doctor", "--kubeconfig", str(environment.cluster.kubeconfig), "--store-report", "-"]
    empty = CliRunner().invoke(main, command, input="")
    asked = CliRunner().invoke(main, [*command, "--remove-orphans"], input="")
    assert "asks questions" not in empty.output
    assert (asked.exit_code, "asks questions" in asked.output) == (2, True)


def test_a_doctor_who_may_read_nothing_does_not_report_success(
    environment: MemoryEnvironment, control_plane: ControlPlane
) -> None:
    kubeconfig = control_plane.user_kubeconfig(f"unbound-{environment.namespace}")
    ran = CliRunner().invoke(main, ["doctor", "--kubeconfig", str(kubeconfig), "--json"], standalone_mode=False)
    assert ran.return_value == 1
    assert {one["result"] for one in json.loads(ran.stdout)} == {"note"}
