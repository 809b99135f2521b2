"""An image that was started wrongly says in one sentence what is wrong, and one that was started oddly works."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pods import Container, account_folder, account_token, run_to_end, running_pod, wait_until

from libbucket.testing.builders import a_claim, a_class

if TYPE_CHECKING:
    from pathlib import Path

    from builders import Builder
    from context import Provisioner
    from libbucket.testing.controlplane import Cluster

RIGHTS = [
    {"apiGroups": ["objectbucket.io"], "resources": ["*"], "verbs": ["*"]},
    {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["secrets", "configmaps", "events", "namespaces"], "verbs": ["*"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
]
ROOT = "running as root is not required"
FULL = {"/tmp": 4096}  # no engine makes a smaller one
WRITES: dict[str, Any] = {
    "entry_point": "/opt/libbucket/bin/python",
    "arguments": ("-c", "open('/tmp/file', 'w').write(9999 * 'x')"),
}


@pytest.fixture
def container(provisioner: Provisioner) -> Container:
    return Container(image=provisioner.tag)


@pytest.fixture
def allowed(cluster: Cluster, namespace: str, container: Container, tmp_path: Path) -> Container:
    """With a service account that may do what a provisioner has to."""
    return with_rights(cluster, namespace, container, tmp_path / "account", RIGHTS)


def with_rights(
    cluster: Cluster, namespace: str, container: Container, folder: Path, rules: list[dict[str, list[str]]]
) -> Container:
    rbac = "rbac.authorization.k8s.io"
    cluster.admin.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tried", "namespace": namespace}}
    )
    cluster.admin.apply(
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": namespace}, "rules": rules}
    )
    cluster.admin.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": namespace},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": namespace},
            "subjects": [{"kind": "ServiceAccount", "name": "tried", "namespace": namespace}],
        }
    )
    token = account_token(cluster, namespace, "tried")
    return container.with_account(account_folder(folder, cluster, token, namespace), cluster)


def test_without_a_cluster(engine: Builder, container: Container) -> None:
    ended = run_to_end(engine, container)

    assert ended.code == 1
    assert "no usable cluster configuration: no --kubeconfig, no service account" in ended.last_line
    assert "Traceback" not in ended.output


def test_with_a_cluster_that_does_not_answer(engine: Builder, allowed: Container) -> None:
    ended = run_to_end(engine, replace(allowed, environment={**allowed.environment, "KUBERNETES_SERVICE_PORT": "9"}))

    assert ended.code == 1
    assert "127.0.0.1:9" in ended.last_line
    assert "Traceback" not in ended.output


def test_with_a_token_that_may_read_and_nothing_else(
    engine: Builder, cluster: Cluster, namespace: str, container: Container, tmp_path: Path
) -> None:
    reading = [{**rule, "verbs": ["get", "list", "watch"]} for rule in RIGHTS]
    poor = with_rights(cluster, namespace, container, tmp_path / "account", reading)
    storage_class = a_class(name=namespace, provisioner=f"{namespace}.test/bucket")
    with running_pod(engine, replace(poor, arguments=("--provisioner-name", f"{namespace}.test/bucket"))) as pod:
        cluster.admin.create("/apis/storage.k8s.io/v1/storageclasses", storage_class)
        claims = f"/apis/objectbucket.io/v1alpha1/namespaces/{namespace}/objectbucketclaims"
        cluster.admin.create(claims, a_claim(name="photos", namespace=namespace, storage_class=namespace))
        wait_until(lambda: "forbidden" in pod.log())
        log = pod.log()
        cluster.admin.delete(f"/apis/storage.k8s.io/v1/storageclasses/{namespace}")

    said = next(line for line in log.splitlines() if "forbidden" in line)
    account = f"system:serviceaccount:{namespace}:tried"
    assert f'User "{account}" cannot patch resource "objectbucketclaims' in said
    assert "Traceback" not in log


def test_with_a_token_that_may_read_and_nothing_else_none_of_several_replicas_leads(
    engine: Builder, cluster: Cluster, namespace: str, container: Container, tmp_path: Path
) -> None:
    reading = [{**rule, "verbs": ["get", "list", "watch"]} for rule in RIGHTS]
    poor = with_rights(cluster, namespace, container, tmp_path / "account", reading)
    with running_pod(engine, replace(poor, arguments=("--leader-elect",)), ready=False) as pod:
        wait_until(lambda: "forbidden" in pod.log())
        log = pod.log()
    said = next(line for line in log.splitlines() if "forbidden" in line)

    assert "cannot acquire or renew the lease" in said
    assert 'cannot create resource "leases"' in said
    assert "Traceback" not in log


def test_with_an_unknown_flag(engine: Builder, container: Container, provisioner: Provisioner) -> None:
    ended = run_to_end(engine, replace(container, arguments=("--regoin=eu",)))

    assert ended.code == 2
    assert ended.output == f"{provisioner.script}: unrecognized arguments: --regoin=eu; see --help\n"


def test_with_the_flags_of_a_go_provisioner(engine: Builder, container: Container, provisioner: Provisioner) -> None:
    ended = run_to_end(engine, replace(container, arguments=("-v=2", "-alsologtostderr", "--version")))

    assert (ended.code, ended.output) == (0, f"{provisioner.script} {provisioner.version}\n")


def test_with_the_flags_of_a_go_provisioner_it_is_ready_and_ends_when_told(engine: Builder, allowed: Container) -> None:
    with running_pod(engine, replace(allowed, arguments=("-v=2", "-alsologtostderr"))) as pod:
        pod.stop()


def test_as_root_it_works_for_who_insists_and_says_that_nobody_has_to(engine: Builder, allowed: Container) -> None:
    # Whether root may be is a matter for the cluster, which can refuse it; nothing in the image needs it or minds.
    with running_pod(engine, replace(allowed, user="0:0")) as pod:
        pod.stop()
        assert pod.log().count(ROOT) == 1


def test_as_any_other_user_it_works_and_says_nothing(engine: Builder, allowed: Container) -> None:
    with running_pod(engine, replace(allowed, user="1000660000:0")) as pod:
        pod.stop()
        assert ROOT not in pod.log()


def test_with_a_full_folder_for_temporary_files_it_works(engine: Builder, allowed: Container) -> None:
    assert "No space left on device" in run_to_end(engine, replace(allowed, **WRITES, scratch=FULL)).output
    with running_pod(engine, replace(allowed, scratch=FULL)) as pod:
        pod.stop()


def test_where_nothing_can_be_written_to_it_works(engine: Builder, allowed: Container) -> None:
    assert "Read-only file system" in run_to_end(engine, replace(allowed, **WRITES)).output
    with running_pod(engine, allowed) as pod:
        pod.stop()
