"""`libbucket list` and `libbucket events` on a real API server, with the core on a store in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from click.testing import CliRunner

from libbucket._cli.commands import main

if TYPE_CHECKING:
    from click.testing import Result

    from libbucket.testing.controlplane import ControlPlane
    from testkit.cluster.memory_environment import MemoryEnvironment

PROGRAM = Path(sys.executable).with_name("libbucket")


def run(environment: MemoryEnvironment, *arguments: str, kubeconfig: Path | None = None) -> Result:
    config = str(kubeconfig or environment.cluster.kubeconfig)
    ran = CliRunner().invoke(main, [*arguments, "--kubeconfig", config, "--namespace", environment.namespace])
    assert ran.exit_code == 0, ran.output
    return ran


def test_claims_are_listed_with_the_age_of_their_credentials(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        secrets = environment.secret()
        environment.claim("lost", storage_class="none-such")
    # Not in the block above: the core logs to the standard output that is captured here.
    table, wide, names = (
        run(environment, "list"),
        run(environment, "list", "-o", "wide"),
        run(environment, "list", "-o", "name"),
    )
    found: list[dict[str, Any]] = json.loads(run(environment, "list", "-o", "json").stdout)
    as_yaml = yaml.safe_load(run(environment, "list", "-o", "yaml").stdout)
    one_class = run(environment, "list", "-o", "name", "--class", environment.class_name)
    history = run(environment, "events")

    heading, lost, photos = table.stdout.splitlines()
    assert heading.split() == ["NAMESPACE", "NAME", "CLASS", "BUCKET", "PHASE", "REASON", "AGE", "CREDENTIALS"]
    assert lost.split()[1:] == ["lost", "none-such", "-", "-", "-", lost.split()[-2], "-"]
    assert photos.split()[4:6] == ["Bound", "Bound"]
    assert photos.split()[-1].endswith("s")
    assert f"obc-{environment.namespace}-photos" in wide.stdout
    assert names.stdout.splitlines() == [f"obc/{environment.namespace}/{name}" for name in ("lost", "photos")]
    assert one_class.stdout == f"obc/{environment.namespace}/photos\n"
    assert [one["phase"] for one in found] == ["", "Bound"] == [one["phase"] for one in as_yaml]
    assert found[1]["credentials_since"]
    assert "Bound" in history.stdout
    printed = table.output + wide.output + json.dumps(found) + history.output
    assert [key for key, value in secrets.items() if value in printed] == []


def test_without_permission_on_secrets_only_the_age_is_missing(
    environment: MemoryEnvironment, control_plane: ControlPlane
) -> None:
    environment.claim()
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{environment.namespace}"
    rule = {"apiGroups": ["objectbucket.io"], "resources": ["objectbucketclaims"], "verbs": ["list"]}
    environment.admin.create(f"{rbac}/roles", {"metadata": {"name": "reader"}, "rules": [rule]})
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "User", "name": environment.namespace, "apiGroup": group}
    role = {"kind": "Role", "name": "reader", "apiGroup": group}
    environment.admin.create(
        f"{rbac}/rolebindings", {"metadata": {"name": "r"}, "roleRef": role, "subjects": [subject]}
    )
    kubeconfig = control_plane.user_kubeconfig(environment.namespace)
    ran = run(environment, "list", kubeconfig=kubeconfig)

    assert "photos" in ran.stdout
    assert "the age of credentials is unknown" in ran.stderr


def test_changes_are_followed(environment: MemoryEnvironment) -> None:
    environment.claim()
    config = ["--kubeconfig", str(environment.cluster.kubeconfig), "--namespace", environment.namespace]
    commands = (["list", "--watch"], ["events", "--follow"])
    running = [
        subprocess.Popen([PROGRAM, *command, *config], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    try:
        claims, history = (one.stdout for one in running)
        assert claims is not None
        assert history is not None
        assert claims.readline().split()[0] == "NAMESPACE"
        assert claims.readline().split()[1] == "photos"
        with environment.core():
            environment.wait_bound()
        assert any("Bound" in line for line in claims)
        assert any("Bound" in line for line in history)
    finally:
        for one in running:
            one.terminate()
            one.communicate(timeout=10)
