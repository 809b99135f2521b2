"""Containers with wrong settings fail with one sentence; containers with unusual settings work."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from libbucket.testing.builders import a_claim, a_class
from testkit.container_images.pods import (
    Container,
    account_folder,
    account_token,
    run_to_end,
    running_pod,
    wait_until,
)

if TYPE_CHECKING:
    from pathlib import Path

    from images.__main__ import Provisioner
    from images.builders import Builder
    from libbucket.testing.controlplane import Cluster

PERMISSIONS = [
    {"apiGroups": ["objectbucket.io"], "resources": ["*"], "verbs": ["*"]},
    {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["secrets", "configmaps", "events", "namespaces"], "verbs": ["*"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
]
ROOT_WARNING = "running as root is not required"
FULL = {"/tmp": 4096}  # the smallest that engines create
WRITES: dict[str, Any] = {
    "entry_point": "/opt/libbucket/bin/python",
    "arguments": ("-c", "open('/tmp/file', 'w').write(9999 * 'x')"),
}


@pytest.fixture
def container(provisioner: Provisioner) -> Container:
    return Container(image=provisioner.tag)


@pytest.fixture
def allowed(cluster: Cluster, namespace: str, container: Container, tmp_path: Path) -> Container:
    """With a service account that has the permissions of a provisioner."""
    return with_permissions(cluster, namespace, container, tmp_path / "account", PERMISSIONS)


def with_permissions(
    cluster: Cluster, namespace: str, container: Container, folder: Path, rules: list[dict[str, list[str]]]
) -> Container:
    rbac = "rbac.authorization.k8s.io"
    cluster.admin.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "provisioner", "namespace": namespace}}
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
            "subjects": [{"kind": "ServiceAccount", "name": "provisioner", "namespace": namespace}],
        }
    )
    token = account_token(cluster, namespace, "provisioner")
    return container.with_account(account_folder(folder, cluster, token, namespace), cluster)


def test_missing_cluster_configuration_fails(engine: Builder, container: Container) -> None:
    ended = run_to_end(engine, container)

    assert ended.code == 1
    assert "no usable cluster configuration: no --kubeconfig, no service account" in ended.last_line
    assert "Traceback" not in ended.output


def test_unreachable_api_server_fails(engine: Builder, allowed: Container) -> None:
    ended = run_to_end(engine, replace(allowed, environment={**allowed.environment, "KUBERNETES_SERVICE_PORT": "9"}))

    assert ended.code == 1
    assert "127.0.0.1:9" in ended.last_line
    assert "Traceback" not in ended.output


def test_missing_write_permission_is_named_in_the_log(
    engine: Builder, cluster: Cluster, namespace: str, container: Container, tmp_path: Path
) -> None:
    reading = [{**rule, "verbs": ["get", "list", "watch"]} for rule in PERMISSIONS]
    reader = with_permissions(cluster, namespace, container, tmp_path / "account", reading)
    storage_class = a_class(name=namespace, provisioner=f"{namespace}.test/bucket")
    with running_pod(engine, replace(reader, arguments=("--provisioner-name", f"{namespace}.test/bucket"))) as pod:
        cluster.admin.create("/apis/storage.k8s.io/v1/storageclasses", storage_class)
        claims = f"/apis/objectbucket.io/v1alpha1/namespaces/{namespace}/objectbucketclaims"
        cluster.admin.create(claims, a_claim(name="photos", namespace=namespace, storage_class=namespace))
        wait_until(lambda: "forbidden" in pod.log())
        log = pod.log()
        cluster.admin.delete(f"/apis/storage.k8s.io/v1/storageclasses/{namespace}")

    said = next(line for line in log.splitlines() if "forbidden" in line)
    account = f"system:serviceaccount:{namespace}:provisioner"
    assert f'User "{account}" cannot patch resource "objectbucketclaims' in said
    assert "Traceback" not in log


def test_replica_without_permission_for_leases_does_not_lead(
    engine: Builder, cluster: Cluster, namespace: str, container: Container, tmp_path: Path
) -> None:
    reading = [{**rule, "verbs": ["get", "list", "watch"]} for rule in PERMISSIONS]
    reader = with_permissions(cluster, namespace, container, tmp_path / "account", reading)
    with running_pod(engine, replace(reader, arguments=("--leader-elect",)), ready=False) as pod:
        wait_until(lambda: "forbidden" in pod.log())
        log = pod.log()
    said = next(line for line in log.splitlines() if "forbidden" in line)

    assert "cannot acquire or renew the lease" in said
    assert 'cannot create resource "leases"' in said
    assert "Traceback" not in log


def test_unknown_flag_is_refused(engine: Builder, container: Container, provisioner: Provisioner) -> None:
    ended = run_to_end(engine, replace(container, arguments=("--regoin=eu",)))

    assert ended.code == 2
    assert ended.output == f"{provisioner.name}: unrecognized arguments: --regoin=eu; see --help\n"


def test_flags_of_go_provisioners_are_accepted(engine: Builder, container: Container, provisioner: Provisioner) -> None:
    ended = run_to_end(engine, replace(container, arguments=("-v=2", "-alsologtostderr", "--version")))

    assert (ended.code, ended.output) == (0, f"{provisioner.name} {provisioner.version}\n")


def test_provisioner_with_flags_of_go_becomes_ready_and_stops_on_sigterm(engine: Builder, allowed: Container) -> None:
    with running_pod(engine, replace(allowed, arguments=("-v=2", "-alsologtostderr"))) as pod:
        pod.stop()


def test_root_works_with_one_warning(engine: Builder, allowed: Container) -> None:
    # Refusing root is up to the cluster (`runAsNonRoot`).
    with running_pod(engine, replace(allowed, user="0:0")) as pod:
        pod.stop()
        assert pod.log().count(ROOT_WARNING) == 1


def test_any_other_user_works_without_a_warning(engine: Builder, allowed: Container) -> None:
    with running_pod(engine, replace(allowed, user="1000660000:0")) as pod:
        pod.stop()
        assert ROOT_WARNING not in pod.log()


def test_full_tmp_does_no_harm(engine: Builder, allowed: Container) -> None:
    assert "No space left on device" in run_to_end(engine, replace(allowed, **WRITES, scratch=FULL)).output
    with running_pod(engine, replace(allowed, scratch=FULL)) as pod:
        pod.stop()


def test_read_only_file_system_does_no_harm(engine: Builder, allowed: Container) -> None:
    assert "Read-only file system" in run_to_end(engine, replace(allowed, **WRITES)).output
    with running_pod(engine, allowed) as pod:
        pod.stop()
