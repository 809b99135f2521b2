"""`libbucket plan` on a real API server: what would happen, and that nothing does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from libbucket._cli.commands import main
from libbucket.testing.builders import a_claim, a_class

if TYPE_CHECKING:
    from pathlib import Path

    from testkit.cluster.memory_environment import MemoryEnvironment

WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
Steps = dict[str, tuple[str, str]]


def plan(environment: MemoryEnvironment, folder: Path, *bodies: dict[str, Any]) -> tuple[int, Steps]:
    """The exit code, and result and detail by name."""
    file = folder / "manifests.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies}))
    arguments = ["plan", "-f", str(file), "--json", "--kubeconfig", str(environment.cluster.kubeconfig)]
    ran = CliRunner().invoke(main, arguments, standalone_mode=False)
    assert ran.exception is None, ran.exception
    steps = json.loads(ran.stdout)
    return ran.return_value, {one["name"].rpartition("/")[2]: (one["result"], one["detail"]) for one in steps}


def test_what_would_be_made_changed_and_refused(environment: MemoryEnvironment, tmp_path: Path) -> None:
    def claim(name: str, **what: Any) -> dict[str, Any]:
        return a_claim(name=name, namespace=environment.namespace, **{"storage_class": environment.class_name, **what})

    environment.make_lease()
    with environment.core():
        environment.claim()
        environment.wait_bound()
    before = environment.get_claim()
    new_class = a_class(name=f"{environment.class_name}-new", provisioner=environment.provisioner_name)
    config = {"generateBucketName": "photos", "additionalConfig": {"maxObjects": "9"}}
    good = [
        new_class,
        claim("photos", spec=config),
        claim("new", storage_class=f"{environment.class_name}-new"),
    ]
    code, steps = plan(environment, tmp_path, *good)
    bad = [
        claim("photos", spec={"bucketName": "another-name"}),
        claim("lost", storage_class="none-such"),
        claim("nameless", spec={}),
    ]
    refused_code, refused = plan(environment, tmp_path, *bad)

    assert code == 0
    assert steps["photos"] == ("change", "additionalConfig.maxObjects: unset -> '9'")
    assert steps["new"] == ("create", "a bucket with a generated name, new-..., deleted with the claim")
    assert steps[f"{environment.class_name}-new"][0] == "create"
    assert refused_code == 3
    assert refused["photos"][0] == "refused"
    assert "bucketName cannot be changed" in refused["photos"][1]
    assert {refused[name][0] for name in ("lost", "nameless")} == {"waits"}
    assert "InvalidClaim" in refused["nameless"][1]
    # Nothing was written.
    assert environment.get_claim()["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert environment.admin.find(environment.claim_path("new")) is None
    assert environment.admin.find(f"/apis/storage.k8s.io/v1/storageclasses/{environment.class_name}-new") is None


def test_the_same_manifest_again_changes_nothing(environment: MemoryEnvironment, tmp_path: Path) -> None:
    with environment.core():
        made = environment.claim()
        environment.wait_bound()
    unserved_code, unserved = plan(environment, tmp_path, made)
    environment.make_lease()
    code, steps = plan(environment, tmp_path, made)

    assert (code, steps["photos"]) == (0, ("unchanged", ""))
    # Without a Lease, nothing shows that the class is served.
    assert (unserved_code, unserved["photos"][0]) == (3, "waits")
    assert "no provisioner" in unserved["photos"][1]


def test_a_namespace_that_does_not_exist_is_a_refusal(environment: MemoryEnvironment, tmp_path: Path) -> None:
    claim = a_claim(namespace=f"{environment.namespace}-none", storage_class=environment.class_name)
    code, steps = plan(environment, tmp_path, claim)

    assert (code, steps["photos"][0]) == (3, "refused")
    assert "not found" in steps["photos"][1]


def test_a_dead_webhook_refuses_its_object_and_not_the_plan(environment: MemoryEnvironment, tmp_path: Path) -> None:
    """Its status is 500, as that of an API server that fails."""
    name = f"{environment.namespace}.example.com"
    claims = {"apiGroups": ["objectbucket.io"], "resources": ["objectbucketclaims"]}
    webhook = {
        "name": name,
        "clientConfig": {"service": {"namespace": environment.namespace, "name": "none-such"}},
        "rules": [{**claims, "apiVersions": ["*"], "operations": ["*"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": environment.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    environment.admin.create(WEBHOOKS, {"metadata": {"name": name}, "webhooks": [webhook]})
    new_class = a_class(name=f"{environment.class_name}-new", provisioner=environment.provisioner_name)
    claim = a_claim(namespace=environment.namespace, storage_class=environment.class_name)
    try:
        environment.until(lambda: plan(environment, tmp_path, claim)[1]["photos"][0] == "refused")
        code, steps = plan(environment, tmp_path, new_class, claim)
    finally:
        environment.admin.delete(f"{WEBHOOKS}/{name}")

    assert (code, steps[f"{environment.class_name}-new"][0]) == (3, "create")
    assert steps["photos"][0] == "refused"
    assert "failed calling webhook" in steps["photos"][1]
