"""The process on a real API server: startup errors, shutdown and leader election.

Every error that an operator can fix is one line and an exit code, never a traceback.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
import yaml

from libbucket.testing.certificates import Authority
from libbucket.testing.processes import HOST, free_ports
from libbucket.testing.provisioner_process import ProvisionerProcess, provisioner_process
from testkit.cluster.crd_generations import crds, generation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from libbucket.testing.admin import KubeAdmin
    from libbucket.testing.controlplane import ControlPlane

ROOT = Path(__file__).parents[2]
EXAMPLE: list[str | Path] = [sys.executable, ROOT / "examples" / "custom-backend" / "provisioner.py"]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
OBC = "objectbucket.io"

Rule = dict[str, list[str]]
CLUSTER_RULES: dict[str, Rule] = {
    "namespaces": {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
    "storageclasses": {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["*"]},
    "objectbuckets": {"apiGroups": [OBC], "resources": ["objectbuckets"], "verbs": ["*"]},
}
NAMESPACED_RULES: dict[str, Rule] = {
    "objectbucketclaims": {"apiGroups": [OBC], "resources": ["objectbucketclaims"], "verbs": ["*"]},
    "secrets": {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]},
    "configmaps": {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]},
}


def run(*argv: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the process until it exits by itself."""
    command = [*EXAMPLE, "--bind-address=", *argv]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **environ}, cwd="/"
    )


def failure(*argv: str | Path, code: int = 1, **environ: str) -> str:
    """The one line of output of a failing process."""
    ended = run(*argv, **environ)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    said = [line for line in ended.stderr.splitlines() if "[info" not in line]
    assert len(said) == 1, ended.stderr
    return said[0]


@contextmanager
def provisioner(kubeconfig: Path, *argv: str, name: str = "provisioner") -> Iterator[ProvisionerProcess]:
    with provisioner_process([*EXAMPLE, *argv], kubeconfig=kubeconfig, name=name) as process:
        yield process


def user(control_plane: ControlPlane, rules: Sequence[Rule], *, namespace: str = "") -> str:
    """A new user with these cluster-wide permissions; with a namespace, with these permissions there only."""
    name = f"user-{secrets.token_hex(4)}"
    bind(control_plane.admin, name, rules, namespace=namespace)
    return name


def bind(admin: KubeAdmin, name: str, rules: Sequence[Rule], *, namespace: str = "") -> None:
    kind, base = ("Role", f"{RBAC}/namespaces/{namespace}") if namespace else ("ClusterRole", RBAC)
    role = f"{name}-{secrets.token_hex(2)}"
    admin.create(f"{base}/{kind.lower()}s", {"metadata": {"name": role}, "rules": list(rules)})
    subjects = [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}]
    ref = {"kind": kind, "name": role, "apiGroup": "rbac.authorization.k8s.io"}
    admin.create(f"{base}/{kind.lower()}bindings", {"metadata": {"name": role}, "roleRef": ref, "subjects": subjects})


# The command line


@pytest.mark.parametrize(
    ("argv", "named"), [(["--no-such-flag"], "--no-such-flag"), (["--workers", "many"], "--workers: 'many'")]
)
def test_an_invalid_command_line_is_one_line_and_exit_code_2(argv: list[str], named: str) -> None:
    said = failure(*argv, code=2)
    assert said.startswith("provisioner.py: ")
    assert named in said


def test_a_wrong_variable_is_named() -> None:
    assert "LIBBUCKET_RESYNC_INTERVAL: 'soon'" in failure(code=2, LIBBUCKET_RESYNC_INTERVAL="soon")


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_need_no_cluster(flag: str) -> None:
    ended = run(flag)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "provisioner.py" in ended.stdout


# Connection to the cluster


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert f"no usable cluster configuration: {tmp_path}/nothing" in failure("--kubeconfig", tmp_path / "nothing")


def test_an_api_server_that_is_not_there_is_named(control_plane: ControlPlane) -> None:
    port = free_ports(1)[0]
    said = failure("--kubeconfig", control_plane.kubeconfig, "--master", f"https://{HOST}:{port}")
    assert f"https://{HOST}:{port}: cannot be reached (Connection refused)" in said


def test_an_untrusted_certificate_authority_is_reported(control_plane: ControlPlane, tmp_path: Path) -> None:
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    authority = tmp_path / "ca.crt"
    authority.write_bytes(Authority().certificate_pem)
    config["clusters"][0]["cluster"]["certificate-authority"] = str(authority)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    assert "its certificate does not fit the configured CA" in failure("--kubeconfig", kubeconfig)


def test_a_rejected_token_is_reported(control_plane: ControlPlane) -> None:
    said = failure("--kubeconfig", control_plane.token_kubeconfig("expired-or-invented"))
    assert "does not accept the credentials" in said


# Permissions


@pytest.mark.parametrize("missing", ["storageclasses", "objectbuckets", "objectbucketclaims", "secrets", "configmaps"])
def test_a_missing_permission_is_named_with_verb_and_resource(control_plane: ControlPlane, missing: str) -> None:
    rules = [rule for name, rule in (CLUSTER_RULES | NAMESPACED_RULES).items() if name != missing]
    said = failure("--kubeconfig", control_plane.user_kubeconfig(user(control_plane, rules)))
    assert f"RBAC does not let this account list {missing}" in said
    assert "in the whole cluster" in said


def test_all_missing_permissions_are_named_at_once(control_plane: ControlPlane, namespace: str) -> None:
    said = failure(
        "--kubeconfig", control_plane.user_kubeconfig("unprivileged"), "--namespace", namespace, "--leader-elect"
    )
    assert "get namespaces named kube-system" in said
    assert "list storageclasses.storage.k8s.io in the whole cluster" in said
    assert f"list secrets in namespace {namespace}" in said
    assert "get leases.coordination.k8s.io in namespace default" in said


def test_permissions_in_one_namespace_are_sufficient_to_serve_it(control_plane: ControlPlane, namespace: str) -> None:
    name = user(control_plane, list(CLUSTER_RULES.values()))
    bind(control_plane.admin, name, list(NAMESPACED_RULES.values()), namespace=namespace)
    kubeconfig = control_plane.user_kubeconfig(name)
    assert "list secrets in the whole cluster" in failure("--kubeconfig", kubeconfig)
    with provisioner(kubeconfig, "--namespace", namespace) as process:
        process.stop()


# The CRDs


def test_missing_crds_are_named_with_what_to_do(control_plane: ControlPlane, kube_admin: KubeAdmin) -> None:
    with crds(kube_admin, ""):
        said = failure("--kubeconfig", control_plane.kubeconfig)
    assert f"the CRD objectbuckets.{OBC} is not installed: apply the files in crds/ first" in said


@pytest.mark.parametrize(
    ("file", "without_status", "lost"),
    [
        ("rook.yaml", False, []),
        ("noobaa.yaml", False, ["conditions of claims are not kept"]),
        ("rook.yaml", True, ["claims have no status subresource", "ObjectBuckets have no status subresource"]),
    ],
)
def test_foreign_crds_are_supported_and_pruned_fields_are_reported(
    control_plane: ControlPlane, tmp_path: Path, file: str, without_status: bool, lost: list[str]
) -> None:
    other = generation(tmp_path, file, without_status=without_status)
    with crds(control_plane.admin, other), provisioner(control_plane.kubeconfig) as process:
        process.stop()
        said = process.log()
    assert all(phrase in said for phrase in lost)
    assert ("the installed CRDs differ from the bundled ones" in said) is bool(lost)


# Start and end


def test_a_port_in_use_is_named(control_plane: ControlPlane) -> None:
    with socket.create_server((HOST, 0)) as taken:
        address = f"{HOST}:{taken.getsockname()[1]}"
        said = failure("--kubeconfig", control_plane.kubeconfig, "--bind-address", address)
    assert f"cannot listen on {address} (--bind-address): Address already in use" in said


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("ValueError('no such store')", "the provisioner cannot be created: ValueError: no such store"),
        ("libbucket.Misconfigured(services.flags['depot-url'] + ' is no depot')", "https://depot is no depot"),
    ],
)
def test_a_factory_that_fails_is_one_line(raised: str, said: str, control_plane: ControlPlane) -> None:
    code = (
        "import sys, libbucket\n"
        f"def factory(services): raise {raised}\n"
        "flag = libbucket.Flag(name='depot-url', help='address of the depot')\n"
        "sys.exit(libbucket.run(factory, program='p', provisioner_name='x.io/y', version='1', flags=[flag]))"
    )
    command = [sys.executable, "-c", code, "--bind-address=", "--kubeconfig", str(control_plane.kubeconfig)]
    command += ["--depot-url=https://depot"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith(said)
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_causes_a_graceful_shutdown(control_plane: ControlPlane, number: signal.Signals) -> None:
    with provisioner(control_plane.kubeconfig) as process:
        assert "libbucket_leader 1.0" in process.metrics()
        os.kill(process.pid, number)
        assert process.wait_exit() == 0
        assert "Traceback" not in process.log()


def test_a_signal_interrupts_waiting_for_an_unresponsive_api_server(
    control_plane: ControlPlane,
) -> None:
    with socket.create_server((HOST, 0)) as silent:
        command = [*EXAMPLE, "--master", f"http://{HOST}:{silent.getsockname()[1]}"]
        with provisioner_process(command, kubeconfig=control_plane.kubeconfig, ready=False) as process:
            silent.settimeout(30)
            connection, _ = silent.accept()
            with connection:
                started = time.monotonic()
                os.kill(process.pid, signal.SIGTERM)
                assert process.wait_exit() == 0
            assert time.monotonic() - started < 5


# Leader election


def elected(kubeconfig: Path, namespace: str, name: str, *, ready: bool) -> Any:
    argv = ["--leader-elect", "--leader-elect-namespace", namespace]
    return provisioner_process([*EXAMPLE, *argv], kubeconfig=kubeconfig, name=name, ready=ready)


def lease(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/libbucket-directory.example-bucket"


def holder(found: dict[str, Any] | None) -> str:
    return str((found or {}).get("spec", {}).get("holderIdentity") or "")


def test_the_standby_takes_over_immediately_when_the_leader_stops(
    control_plane: ControlPlane, kube_admin: KubeAdmin, namespace: str
) -> None:
    path = lease(namespace)
    with (
        elected(control_plane.kubeconfig, namespace, "first", ready=False) as first,
        elected(control_plane.kubeconfig, namespace, "second", ready=False) as second,
    ):
        leader = holder(kube_admin.wait_for(path, lambda found: holder(found) != ""))
        wait_until(lambda: sum(is_leader(one) for one in (first, second)) == 1)
        going, staying = (first, second) if is_leader(first) else (second, first)
        started = time.monotonic()
        going.stop()
        kube_admin.wait_for(path, lambda found: holder(found) not in {"", leader})
        assert time.monotonic() - started < 10, "faster than the lease's 15 seconds"
        wait_until(lambda: is_leader(staying))
        staying.stop()
        assert holder(kube_admin.get(path)) == ""


def is_leader(process: ProvisionerProcess) -> bool:
    try:
        return "libbucket_leader 1.0" in process.metrics()
    except urllib3.exceptions.HTTPError:  # it has not come so far
        return False


def wait_until(condition: Any, *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
