"""The procedures of docs/disasters.md, each on a real API server with the core on a store in memory."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from libbucket._cli.commands import main
from libbucket._run.main import Program
from libbucket._run.main import main as run_program
from libbucket.testing.binaries import kubectl_binary
from libbucket.testing.controlplane import control_plane as a_control_plane
from libbucket.testing.memory import MemoryProvisioner
from libbucket.types import AccessKeys, SecretStr
from testkit.cluster.memory_environment import OBC, MemoryEnvironment
from testkit.repository import CRDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from click.testing import Result

    from libbucket.testing.controlplane import ControlPlane

PAGE = (Path(__file__).parents[2] / "docs/disasters.md").read_text()
NOTHING: Mapping[str, str] = MappingProxyType({})
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def documented(heading: str, command: str = "adopt") -> list[str]:
    """The commands of `libbucket` that begin so in one section of the page, in its order; in a block, or in a line."""
    section = re.split(r"(?m)^## ", PAGE.partition(f"\n## {heading}\n")[2])[0]
    return re.findall(rf"(?:^\$ |`)libbucket ({command}[^`\n]*)", section, re.MULTILINE)


def libbucket(
    environment: MemoryEnvironment, command: str, values: Mapping[str, str] = NOTHING, *, answer: str = "y\n"
) -> Result:
    """Runs a command of the page, with the values of a test in place of the page's."""
    known = {"shop": environment.namespace, "shop/photos": f"{environment.namespace}/photos", **values}
    words = [known.get(word, word) for word in shlex.split(command)]
    config = ["--kubeconfig", str(environment.cluster.kubeconfig)]
    return CliRunner().invoke(main, [*words, *config], input=answer, standalone_mode=False)


def as_backed_up(body: dict[str, Any]) -> dict[str, Any]:
    """As Velero restores an object: without its status and what the API server sets.

    Source: https://velero.io/docs/main/restore-reference/ ("Restore Status" is off by default).
    """
    kept = ("name", "namespace", "labels", "annotations", "finalizers")
    meta = {key: value for key, value in body["metadata"].items() if key in kept}
    return {key: value for key, value in {**body, "metadata": meta}.items() if key != "status"}


def back_up(environment: MemoryEnvironment, folder: Path) -> None:
    """What the page says to keep: its first block, by bash and kubectl, in this folder."""
    block = re.findall(r"(?ms)^```console\n(.*?)^```$", PAGE)[0]
    program = kubectl_binary()
    assert program.name == "kubectl"
    settings = {"PATH": f"{program.parent}:/usr/bin:/bin", "KUBECONFIG": str(environment.cluster.kubeconfig)}
    script = "\n".join(line.removeprefix("$ ") for line in block.splitlines())
    subprocess.run(["bash", "-euc", script], cwd=folder, env=settings, check=True, timeout=120)


def a_bound_claim(environment: MemoryEnvironment, **spec: Any) -> str:
    """The uid of a claim that is bound, and whose bucket has content; run it with the core."""
    environment.claim(spec=spec or {"generateBucketName": "photos"})
    claim = environment.wait_bound()
    environment.store.administrator().put(claim["spec"]["bucketName"], "a.jpg", b"content")
    return str(claim["metadata"]["uid"])


def content(environment: MemoryEnvironment) -> bytes:
    """Of the bucket of the claim, with the credentials of its Secret."""
    secret, bucket = environment.secret(), environment.get_claim()["spec"]["bucketName"]
    return environment.store.client(keys_in(secret)).get(bucket, "a.jpg")


def keys_in(secret: dict[str, str]) -> AccessKeys:
    key = SecretStr(secret["AWS_SECRET_ACCESS_KEY"])
    return AccessKeys(access_key_id=secret["AWS_ACCESS_KEY_ID"], secret_access_key=key)


def cluster_id(environment: MemoryEnvironment) -> str:
    return str(environment.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"])


@pytest.fixture
def retaining(environment: MemoryEnvironment) -> MemoryEnvironment:
    """An environment whose class has the policy Retain."""
    environment.delete_class()
    environment.make_class(reclaim_policy="Retain")
    return environment


@pytest.fixture(scope="module")
def second_plane() -> Iterator[ControlPlane]:
    """Another cluster: a rebuilt one, and one whose API server may be restored."""
    with a_control_plane(crds=(CRDS,), controllers=False) as plane:
        yield plane


def everything(environment: MemoryEnvironment) -> Iterator[str]:
    """The paths of all claims and ObjectBuckets of a cluster."""
    for one in environment.admin.items(f"{OBC}/objectbucketclaims"):
        meta = one["metadata"]
        yield f"{OBC}/namespaces/{meta['namespace']}/objectbucketclaims/{meta['name']}"
    for one in environment.admin.items(f"{OBC}/objectbuckets"):
        yield f"{OBC}/objectbuckets/{one['metadata']['name']}"


@pytest.fixture
def rebuilt(retaining: MemoryEnvironment, second_plane: ControlPlane) -> Iterator[MemoryEnvironment]:
    """The same namespace, class and store in another cluster."""
    made = MemoryEnvironment(second_plane, retaining.namespace)
    made.provisioner_name, made.class_name = retaining.provisioner_name, retaining.class_name
    made.store = retaining.store
    made.admin.create("/api/v1/namespaces", {"metadata": {"name": made.namespace}})
    made.make_class(reclaim_policy="Retain")
    yield made
    made.delete_class()
    for path in everything(made):
        made.admin.patch(path, {"metadata": {"finalizers": []}})
        made.admin.delete(path)


@pytest.mark.parametrize("has_object_buckets", [True, False])
def test_a_namespace_that_a_backup_restored(retaining: MemoryEnvironment, *, has_object_buckets: bool) -> None:
    environment = retaining
    with environment.core():
        uid = a_bound_claim(environment)
        claim, ob = environment.get_claim(), environment.admin.get(environment.ob_path())
        environment.delete_claim()  # as the deletion of the namespace does
        if has_object_buckets:
            environment.admin.create(f"{OBC}/objectbuckets", as_backed_up(ob))
        environment.admin.create(f"{OBC}/namespaces/{environment.namespace}/objectbucketclaims", as_backed_up(claim))
        environment.wait_reason("BucketExists")
        with_object_bucket, by_names, _, _ = documented("A namespace was restored by a backup")
        if has_object_buckets:
            ran = libbucket(environment, with_object_bucket)
        else:
            ran = libbucket(environment, by_names, {"photos-5f0e": claim["spec"]["bucketName"], "3c1e": uid})
        environment.wait_bound()
        environment.until(lambda: len(environment.admin.items(f"{OBC}/objectbuckets")) >= 1)
        own = [one for one in environment.admin.items(f"{OBC}/objectbuckets") if _is_of(one, environment)]

        assert (ran.return_value, ran.exception) == (0, None), ran.output
        assert content(environment) == b"content"
        environment.until(lambda: len(environment.store.identities) == 1)
        assert all("deletionTimestamp" in one["metadata"] or one["status"]["phase"] == "Bound" for one in own)


def restore_with_status(environment: MemoryEnvironment, path: str, collection: str, body: dict[str, Any]) -> None:
    """As Velero does with `--status-include-resources`: the status is written after the object.

    Source: https://velero.io/docs/main/restore-reference/ ("Restore Status").
    """
    environment.admin.create(collection, as_backed_up(body))
    environment.admin.patch(f"{path}/status", {"status": body["status"]})


def lose_claim_and_object_bucket(environment: MemoryEnvironment) -> None:
    """Both go while no provisioner runs, as with their cluster."""
    for path in (environment.claim_path(), environment.ob_path()):
        environment.admin.patch(path, {"metadata": {"finalizers": []}})
        environment.admin.delete(path)
        environment.admin.wait_gone(path)


def test_object_buckets_that_a_backup_restored_as_bound_delete_nothing(environment: MemoryEnvironment) -> None:
    """By the policy Delete: a claim whose finalizer was removed by force would take its bucket with it."""
    with environment.core():
        a_bound_claim(environment)
        claim, ob = environment.get_claim(), environment.admin.get(environment.ob_path())
    lose_claim_and_object_bucket(environment)
    restore_with_status(environment, environment.ob_path(), f"{OBC}/objectbuckets", ob)
    claims = f"{OBC}/namespaces/{environment.namespace}/objectbucketclaims"
    with environment.core():
        environment.claim("later")  # the claims of a backup follow: meanwhile there is none
        environment.wait_bound("later")
        restore_with_status(environment, environment.claim_path(), claims, claim)
        environment.wait_reason("BucketExists")
        assert environment.admin.get(environment.ob_path())["status"]["phase"] == "Bound"
        told = libbucket(environment, "doctor")
        ran = libbucket(environment, documented("A namespace was restored by a backup")[0])
        environment.wait_bound()

        assert "it was restored from a backup" in told.output
        assert (ran.return_value, ran.exception) == (0, None), ran.output
        assert content(environment) == b"content"
        environment.until(lambda: len(environment.store.identities) == 2)


def test_an_object_bucket_that_was_restored_for_its_own_claim_is_served_on(environment: MemoryEnvironment) -> None:
    with environment.core():
        a_bound_claim(environment)
    before, ob = environment.secret(), environment.admin.get(environment.ob_path())
    environment.admin.patch(environment.ob_path(), {"metadata": {"finalizers": []}})
    environment.admin.delete(environment.ob_path())
    environment.admin.wait_gone(environment.ob_path())
    restore_with_status(environment, environment.ob_path(), f"{OBC}/objectbuckets", ob)
    with environment.core():
        environment.until(lambda: records_its_own_uid(environment.admin.get(environment.ob_path())))
        assert environment.secret() == before
        # It is the claim's again, so that a removed finalizer counts as a deletion.
        environment.patch_claim({"metadata": {"finalizers": None}})
        environment.delete_claim()
        environment.until(lambda: not environment.store.buckets)


def records_its_own_uid(ob: dict[str, Any]) -> bool:
    observed = json.loads(ob["metadata"]["annotations"]["objectbucket.io/observed"])
    return bool(observed["object"] == ob["metadata"]["uid"])


def test_a_planned_purge_that_a_backup_restored_deletes_nothing(environment: MemoryEnvironment) -> None:
    environment.delete_class()
    environment.make_class(parameters={"purgeAfter": "1h"})
    with environment.core():
        a_bound_claim(environment)
        environment.delete_claim()
        ob = environment.admin.get(environment.ob_path())
    past = {"objectbucket.io/purge-at": "2020-01-01T00:00:00Z"}
    ob["metadata"]["annotations"] |= past
    environment.admin.patch(environment.ob_path(), {"metadata": {"finalizers": []}})
    environment.admin.delete(environment.ob_path())
    environment.admin.wait_gone(environment.ob_path())
    restore_with_status(environment, environment.ob_path(), f"{OBC}/objectbuckets", ob)
    with environment.core():
        environment.claim("later")
        environment.wait_bound("later")
        told = libbucket(environment, "doctor")

        assert "it was restored from a backup" in told.output
        assert ob["spec"]["endpoint"]["bucketName"] in environment.store.buckets


def test_an_intent_of_an_old_backup_deletes_no_data(environment: MemoryEnvironment) -> None:
    """The backup was made before the claim was bound; its bucket was filled since."""
    with environment.core():
        a_bound_claim(environment)
        claim, ob = environment.get_claim(), environment.admin.get(environment.ob_path())
    lose_claim_and_object_bucket(environment)
    del ob["metadata"]["annotations"]["objectbucket.io/observed"]
    ob["spec"]["endpoint"] = {"bucketName": claim["spec"]["bucketName"]}
    environment.admin.create(f"{OBC}/objectbuckets", as_backed_up(ob))
    with environment.core():
        told = environment.admin.wait_for(environment.ob_path(), says_not_empty)
        environment.admin.create(f"{OBC}/namespaces/{environment.namespace}/objectbucketclaims", as_backed_up(claim))
        ran = libbucket(environment, documented("A namespace was restored by a backup")[0])
        environment.wait_bound()

        assert told is not None
        assert "may be from an old backup" in told["status"]["conditions"][0]["message"]
        assert (ran.return_value, ran.exception) == (0, None), ran.output
        assert content(environment) == b"content"


def says_not_empty(ob: dict[str, Any] | None) -> bool:
    conditions = (ob or {}).get("status", {}).get("conditions", [])
    return any(one["reason"] == "BucketNotEmpty" for one in conditions)


def test_a_restored_namespace_is_adopted_as_planned(retaining: MemoryEnvironment) -> None:
    environment = retaining
    _, _, plan, carry_out = documented("A namespace was restored by a backup")
    with environment.core():
        a_bound_claim(environment)
        claim, ob = environment.get_claim(), environment.admin.get(environment.ob_path())
        environment.delete_claim()
        environment.admin.create(f"{OBC}/objectbuckets", as_backed_up(ob))
        environment.admin.create(f"{OBC}/namespaces/{environment.namespace}/objectbucketclaims", as_backed_up(claim))
        environment.wait_reason("BucketExists")
        planned = libbucket(environment, plan)
        found = re.search(r"plan ([0-9a-f]{12}): nothing was changed", planned.output)
        assert found is not None, planned.output
        other = libbucket(environment, carry_out, {"4f1c2ab90d37": "000000000000"})
        assert "nothing was changed" in str(other.exception)
        environment.wait_reason("BucketExists")

        ran = libbucket(environment, carry_out, {"4f1c2ab90d37": found[1]})

        environment.wait_bound()
        assert (ran.return_value, ran.exception) == (0, None), ran.output
        assert content(environment) == b"content"


def _is_of(ob: dict[str, Any], environment: MemoryEnvironment) -> bool:
    return bool(ob["metadata"]["annotations"]["objectbucket.io/claim-namespace"] == environment.namespace)


def test_object_buckets_that_are_gone_are_rebuilt_without_new_credentials(retaining: MemoryEnvironment) -> None:
    environment = retaining
    with environment.core():
        a_bound_claim(environment)
    before = environment.secret()
    environment.admin.patch(environment.ob_path(), {"metadata": {"finalizers": []}})
    environment.admin.delete(environment.ob_path())
    environment.admin.wait_gone(environment.ob_path())
    with environment.core():
        environment.admin.wait_for(
            environment.ob_path(), lambda ob: ob is not None and ob.get("status", {}).get("phase") == "Bound"
        )

    assert environment.secret() == before
    assert content(environment) == b"content"
    assert environment.admin.get(environment.ob_path())["spec"]["reclaimPolicy"] == "Retain"


def test_a_cluster_that_was_rebuilt_from_git(
    retaining: MemoryEnvironment, rebuilt: MemoryEnvironment, tmp_path: Path
) -> None:
    with retaining.core():
        a_bound_claim(retaining)
    ob = retaining.admin.get(retaining.ob_path())
    back_up(retaining, tmp_path)
    # The manifest from Git has no name of a bucket, and the provisioner does not run yet.
    rebuilt.claim()
    values = {
        "objectbuckets.yaml": str(tmp_path / "objectbuckets.yaml"),
        "9d2b": (tmp_path / "cluster-id").read_text(),
    }
    ran = libbucket(rebuilt, documented("The cluster was rebuilt from Git")[0], values)
    with rebuilt.core():
        rebuilt.wait_bound()

        assert "no provisioner has worked on it" in str(ran.exception)
        assert rebuilt.get_claim()["spec"]["bucketName"] == ob["spec"]["endpoint"]["bucketName"]
        assert content(rebuilt) == b"content"
        assert len(retaining.store.buckets) == 1


def test_a_provisioner_that_moved_and_whose_old_cluster_comes_back(
    environment: MemoryEnvironment, second_plane: ControlPlane
) -> None:
    moved = MemoryEnvironment(second_plane, environment.namespace)
    moved.provisioner_name, moved.class_name, moved.store = (
        environment.provisioner_name,
        environment.class_name,
        environment.store,
    )
    moved.admin.create("/api/v1/namespaces", {"metadata": {"name": moved.namespace}})
    moved.make_class()
    with environment.core():
        uid = a_bound_claim(environment)
    bucket = environment.get_claim()["spec"]["bucketName"]
    with moved.core():
        moved.claim(spec={"bucketName": bucket})
        moved.wait_reason("BucketExists")
        values = {"photos-5f0e": bucket, "3c1e": uid, "9d2b": cluster_id(environment)}
        ran = libbucket(moved, documented("The provisioner moves to another cluster")[0], values)
        moved.wait_bound()
    # The old cluster's claim has the policy Delete, and is deleted by its own provisioner.
    with environment.core():
        environment.delete_claim(wait=False)
        environment.wait_reason("BucketExists")
        environment.admin.patch(environment.ob_path(), {"spec": {"reclaimPolicy": "Retain"}})
        environment.admin.wait_gone(environment.claim_path(), timeout=20)

    assert ran.return_value == 0, ran.output
    assert content(moved) == b"content"
    moved.delete_class()


def test_crds_that_were_deleted(
    retaining: MemoryEnvironment, rebuilt: MemoryEnvironment, second_plane: ControlPlane, tmp_path: Path
) -> None:
    del retaining  # its class and store are those of `rebuilt`, whose CRDs may be deleted
    with rebuilt.core():
        a_bound_claim(rebuilt)
    names = ("objectbucketclaims.objectbucket.io", "objectbuckets.objectbucket.io")
    for name in names:
        rebuilt.admin.delete(f"{CRD_PATH}/{name}")
    claim = rebuilt.admin.wait_for(
        rebuilt.claim_path(), lambda found: found is not None and "deletionTimestamp" in found["metadata"]
    )
    ob = rebuilt.admin.get(rebuilt.ob_path())
    assert claim is not None
    backup = tmp_path / "objectbuckets.yaml"
    backup.write_text(json.dumps(ob))
    for path in everything(rebuilt):
        rebuilt.admin.patch(path, {"metadata": {"finalizers": []}})
    for name in names:
        rebuilt.admin.wait_gone(f"{CRD_PATH}/{name}")
    second_plane.install_crds(CRDS)
    for kind in ("secrets", "configmaps"):  # there is no garbage collector here
        rebuilt.admin.delete(rebuilt.path(kind))
    restored = as_backed_up(claim)
    rebuilt.admin.create(f"{OBC}/namespaces/{rebuilt.namespace}/objectbucketclaims", restored)
    ran = libbucket(rebuilt, documented("The CRDs are gone")[0], {"objectbuckets.yaml": str(backup)})
    with rebuilt.core():
        rebuilt.wait_bound()

        assert "recorded" in ran.output
        assert content(rebuilt) == b"content"


def test_a_store_that_was_restored_from_a_backup(retaining: MemoryEnvironment) -> None:
    environment = retaining
    with environment.core():
        a_bound_claim(environment)
        backup = deepcopy((environment.store.buckets, environment.store.identities))
        environment.claim("later")
        environment.wait_bound("later")
        environment.admin.delete(environment.path("secrets"))
        environment.until(lambda: environment.admin.find(environment.path("secrets")) is not None)
        environment.wait_bound()
    newer = environment.secret()
    environment.store.buckets, environment.store.identities = backup
    with environment.core(version="2"):  # an upgrade reconciles every claim in full, as --repair-interval does
        environment.wait_reason("BucketLost", "later")
        environment.until(lambda: environment.secret() != newer)
        environment.wait_bound()

        assert content(environment) == b"content"


def a_bucket_that_a_restored_store_has_again(environment: MemoryEnvironment) -> tuple[str, str]:
    """A bucket that was deleted with its claim after the backup, and the claim's uid; run it with the core."""
    uid, earlier = a_bound_claim(environment), keys_in(environment.secret())
    bucket = environment.get_claim()["spec"]["bucketName"]
    backup = deepcopy((environment.store.buckets, environment.store.identities))
    environment.delete_claim()
    environment.until(lambda: not environment.store.buckets and not environment.store.identities)
    environment.store.buckets, environment.store.identities = backup
    assert environment.store.client(earlier).get(bucket, "a.jpg") == b"content", "its keys work again"
    return bucket, uid


def test_a_bucket_that_a_restored_store_has_again_is_adopted(environment: MemoryEnvironment) -> None:
    with environment.core():
        bucket, uid = a_bucket_that_a_restored_store_has_again(environment)
        environment.claim(spec={"bucketName": bucket})
        environment.wait_reason("BucketExists")
        values = {"photos-5f0e": bucket, "3c1e": uid}
        ran = libbucket(environment, documented("The store was restored from a backup")[0], values)
        environment.wait_bound()

        assert (ran.return_value, ran.exception) == (0, None), ran.output
        assert content(environment) == b"content"


def test_a_bucket_that_a_restored_store_has_again_is_deleted(
    environment: MemoryEnvironment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "orphans.json"
    with environment.core():
        bucket, uid = a_bucket_that_a_restored_store_has_again(environment)
        capsys.readouterr()
        assert list_orphans(environment) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if f'"uid":"{uid}"' in line.replace(" ", "")]
        report.write_text("\n".join(lines))
        (command,), values = documented("The store was restored from a backup", "doctor"), {report.name: str(report)}
        kept = libbucket(environment, command, values, answer="n\n" * 99)
        before = kept.output.splitlines().count("kept") - 1  # questions about what other tests have left
        assert before >= 0
        assert bucket in environment.store.buckets
        ran = libbucket(environment, command, values, answer="n\n" * before + f"{bucket}\n")

        assert f"bucket {bucket} of claim {environment.namespace}/photos, which is gone" in ran.output
        environment.until(lambda: not environment.store.buckets and not environment.store.identities)


def list_orphans(environment: MemoryEnvironment) -> int:
    """The provisioner's own program, beside the one that runs."""
    program = Program(
        factory=lambda services: MemoryProvisioner(services, store=environment.store),
        name="test",
        provisioner_name=environment.provisioner_name,
        version="1",
    )
    config = ["--kubeconfig", str(environment.cluster.kubeconfig)]
    assert "--list-orphans --log-format=json > orphans.json" in PAGE
    return run_program(program, [*config, "--list-orphans", "--log-format=json"])


def test_a_bucket_that_changed_its_owner_after_the_backup_of_the_store(retaining: MemoryEnvironment) -> None:
    environment = retaining
    with environment.core():
        uid = a_bound_claim(environment)
        bucket, earlier = environment.get_claim()["spec"]["bucketName"], keys_in(environment.secret())
        backup = deepcopy((environment.store.buckets, environment.store.identities))
        environment.delete_claim()
        environment.claim(spec={"bucketName": bucket})
        environment.wait_reason("BucketExists")
        again = documented("The store was restored from a backup")[0], {"photos-5f0e": bucket, "3c1e": uid}
        assert libbucket(environment, *again).return_value == 0
        now = environment.wait_bound()["metadata"]["uid"]
        assert environment.store.buckets[bucket].tags["objectbucket_claim_uid"] == now
    environment.store.buckets, environment.store.identities = backup
    with environment.core(version="2"):  # an upgrade reconciles every claim in full, as --repair-interval does
        environment.wait_reason("BucketExists")
        ran = libbucket(environment, *again)
        environment.wait_bound()

        assert (ran.return_value, ran.exception) == (0, None), ran.output
        assert environment.store.buckets[bucket].tags["objectbucket_claim_uid"] == now
        assert environment.store.client(earlier).get(bucket, "a.jpg") == b"content", "an identity that is left"
        assert content(environment) == b"content"


def test_an_api_server_that_was_restored_from_an_old_backup(
    retaining: MemoryEnvironment, rebuilt: MemoryEnvironment, second_plane: ControlPlane, tmp_path: Path
) -> None:
    del retaining
    with rebuilt.core():
        a_bound_claim(rebuilt)
    # The core is stopped at each step; test_informer.py covers one that runs on.
    data = second_plane.kubeconfig.parent / "etcd"
    second_plane.kill_etcd()
    shutil.copytree(data, tmp_path / "etcd")
    second_plane.start_etcd()
    with rebuilt.core():
        rebuilt.claim("later")
        later = rebuilt.wait_bound("later")
    second_plane.kill_etcd()
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "etcd", data)
    second_plane.start_etcd()
    second_plane.restart_api_server()
    assert rebuilt.admin.find(rebuilt.claim_path("later")) is None
    assert content(rebuilt) == b"content"
    bucket, uid = later["spec"]["bucketName"], later["metadata"]["uid"]
    with rebuilt.core():
        rebuilt.claim("later", spec={"bucketName": bucket})
        rebuilt.wait_reason("BucketExists", "later")
        values = {"shop/photos": f"{rebuilt.namespace}/later", "photos-5f0e": bucket, "3c1e": uid}
        ran = libbucket(rebuilt, documented("The API server was restored from an old backup")[0], values)
        again = rebuilt.wait_bound("later")

    assert again["metadata"]["uid"] != uid
    assert ran.return_value == 0, ran.output
