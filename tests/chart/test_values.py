"""Which values the chart accepts and refuses, and that its pages and files are current. Needs no cluster."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chart.render import documented_values, files
from testkit.chart.environment import BACKENDS, CHART, REGISTRY, ROOT, ChartRefused, Tools, a_release, one, render

if TYPE_CHECKING:
    from pathlib import Path

SETS = sorted((CHART / "ci").glob("*.yaml"))
PACKAGES = {path.parent.name: path for path in sorted((ROOT / "packages").glob("*/pyproject.toml"))}

MINIO_CLASS = {"endpoint": "http://minio", "secretName": "admin", "secretNamespace": "minio"}

CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no image": ({"backend": "minio"}, "image.registry is required"),
    "a provisioner of one's own without a name": (
        a_release("other", image={"registry": REGISTRY, "repository": "mine", "tag": "1"}),
        "backend: other needs provisionerName",
    ),
    "a provisioner of one's own without an image": (
        a_release("other", provisionerName="store.example.com/bucket"),
        "backend: other needs image.repository",
    ),
    "a provisioner of one's own without a version": (
        a_release(
            "other", provisionerName="store.example.com/bucket", image={"registry": REGISTRY, "repository": "a/b"}
        ),
        "backend: other needs image.tag or image.digest",
    ),
    "replicas that don't agree on one": (
        a_release(leaderElection=False),
        "leaderElection: false goes with replicas: 1 only, not with 2",
    ),
    "shards that replicas don't agree on": (
        a_release(replicas=1, leaderElection=False, sharding=True),
        "sharding: true needs leaderElection: true",
    ),
    "secrets limited in a cluster that isn't": (
        a_release(adminSecrets=[{"namespace": "minio", "name": "admin"}]),
        "adminSecrets limits nothing without namespaces",
    ),
    "the whole cluster with Roles": (
        a_release(rbac={"clusterScope": False}),
        "rbac.clusterScope: false needs namespaces",
    ),
    "an admission policy without cluster scope": (
        a_release(namespaces=["shop"], rbac={"clusterScope": False}, admissionPolicy={"enabled": True}),
        "admissionPolicy.enabled: true needs rbac.clusterScope: true",
    ),
    "an administrator's Secret that no class may name": (
        a_release(
            namespaces=["shop"],
            adminSecrets=[{"namespace": "minio", "name": "admin"}],
            adminSecretNamespaces=["vault"],
        ),
        "adminSecrets names namespace minio, which adminSecretNamespaces does not have",
    ),
    "a class of the chart that its provisioner refuses": (
        a_release(adminSecretNamespaces=["vault"], exampleClass={"create": True, "parameters": MINIO_CLASS}),
        "exampleClass.parameters.secretNamespace: minio is not in adminSecretNamespaces",
    ),
    "an account without a name": (
        a_release(serviceAccount={"create": False}),
        "serviceAccount.create: false needs serviceAccount.name",
    ),
    "root that may not be root": (
        a_release(podSecurityContext={"runAsUser": 0}),
        "podSecurityContext.runAsUser: 0 is root, which runAsNonRoot: true forbids: no pod would start",
    ),
    "a role of AWS for MinIO": (
        a_release(workloadIdentity={"aws": {"roleArn": "arn:aws:iam::111122223333:role/r"}}),
        "workloadIdentity.aws.roleArn is for backend aws-s3, and the backend is minio",
    ),
    "an account of Google for AWS": (
        a_release("aws-s3", workloadIdentity={"gcp": {"serviceAccount": "a@p.iam.gserviceaccount.com"}}),
        "workloadIdentity.gcp.serviceAccount is for backend gcs, and the backend is aws-s3",
    ),
    "a client of Azure for Google": (
        a_release("gcs", workloadIdentity={"azure": {"clientId": "11111111-2222-3333-4444-555555555555"}}),
        "workloadIdentity.azure.clientId is for backend azure, and the backend is gcs",
    ),
    "a tenant without a client": (
        a_release("azure", workloadIdentity={"azure": {"tenantId": "11111111-2222-3333-4444-555555555555"}}),
        "workloadIdentity.azure.tenantId needs workloadIdentity.azure.clientId",
    ),
    "an identity for an existing account": (
        a_release(
            "aws-s3",
            workloadIdentity={"aws": {"roleArn": "arn:aws:iam::111122223333:role/r"}},
            serviceAccount={"create": False, "name": "given"},
        ),
        "workloadIdentity.aws.roleArn needs serviceAccount.create: true",
    ),
    "a flag that a value sets": (
        a_release(extraArgs=["--workers=9"]),
        "extraArgs must not have --workers: set value workers instead",
    ),
    "another port": (a_release(extraArgs=["--bind-address=:9090"]), "extraArgs must not have --bind-address"),
    "a port of the store that the NetworkPolicy does not permit": (
        a_release(
            networkPolicy={"enabled": True},
            exampleClass={"create": True, "parameters": {**MINIO_CLASS, "endpoint": "https://minio.minio.svc:9443/"}},
        ),
        "exampleClass.parameters.endpoint has port 9443, which the NetworkPolicy does not permit",
    ),
    "a class without its store": (
        a_release(exampleClass={"create": True}),
        "exampleClass.parameters.endpoint is required for backend minio",
    ),
}

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no backend": (
        {"image": {"registry": REGISTRY}},
        "'/backend': value must be one of 'minio', 'aws-s3', 'gcs', 'azure'",
    ),
    "an unknown backend": (a_release("ceph"), "'/backend': value must be one of 'minio', 'aws-s3', 'gcs', 'azure'"),
    "an unknown value": (a_release(replica=3), "additional properties 'replica' not allowed"),
    "such a value further down": (
        a_release(crds={"enabled": True}),
        "'/crds': additional properties 'enabled' not allowed",
    ),
    "a policy that is on and off": (
        a_release(admissionPolicy={"enabled": "sometimes"}),
        "'/admissionPolicy/enabled': value must be one of 'auto', true, false",
    ),
    "a number as text": (a_release(replicas="two"), "'/replicas': got string, want integer"),
    "too many workers": (a_release(workers=1000), "'/workers': maximum: got 1,000, want 256"),
    "a duration without a unit": (a_release(resyncInterval="30"), "'/resyncInterval': '30' does not match pattern"),
    "no namespace's name": (
        a_release(namespaces=["UpperCase"]),
        "'/namespaces/0': 'UpperCase' does not match pattern",
    ),
    "a namespace twice": (a_release(namespaces=["shop", "shop"]), "'/namespaces': items at 0 and 1 are equal"),
    "a Secret without a namespace": (
        a_release(namespaces=["shop"], adminSecrets=[{"name": "admin"}]),
        "'/adminSecrets/0': missing property 'namespace'",
    ),
    "a digest that is none": (
        {"backend": "minio", "image": {"registry": REGISTRY, "digest": "latest"}},
        "'/image/digest': 'latest' does not match pattern",
    ),
    "another form of log": (a_release(logFormat="xml"), "'/logFormat': value must be one of 'text', 'json'"),
    "too little time to stop": (
        a_release(terminationGracePeriodSeconds=5),
        "'/terminationGracePeriodSeconds': minimum: got 5, want 30",
    ),
}


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(ChartRefused) as refused:
        render(values)
    return str(refused.value)


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_contradicting_values_are_refused_with_one_sentence(what: str) -> None:
    values, sentence = CONTRADICTIONS[what]

    said = refusal(values)

    assert sentence in said
    assert len(said.strip().splitlines()) <= 3, said


@pytest.mark.parametrize("what", WRONG)
def test_an_invalid_value_is_named_with_its_constraint(what: str) -> None:
    values, sentence = WRONG[what]

    said = refusal(values)

    assert sentence in said
    assert len([line for line in said.splitlines() if line.startswith("- at")]) == 1, said


@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_valid_values_are_rendered_and_pass_helm_lint(path: Path, tmp_path: Path) -> None:
    assert one(render(path), "Deployment")

    Tools(tmp_path / "none", tmp_path).helm("lint", "--strict", "--quiet", str(CHART), "--values", str(path))


def test_the_packed_chart_renders_the_same(tmp_path: Path) -> None:
    tools = Tools(tmp_path / "none", tmp_path)
    tools.helm("package", str(CHART), "--destination", str(tmp_path))
    (packed,) = tmp_path.glob("libbucket-*.tgz")

    shown = tools.helm("template", "buckets", str(packed), "--namespace", "libbucket", values=a_release())

    assert [each for each in yaml.safe_load_all(shown) if each] == render(a_release())


def test_every_value_is_used_by_one_of_the_sets() -> None:
    # What no set sets is rendered with its default only, and no test shows whether it has any effect.
    used = {path for file in SETS for path in leaves(yaml.safe_load(file.read_text()))}
    unused = {path for path in leaves(yaml.safe_load((CHART / "values.yaml").read_text())) if not is_in(path, used)}

    assert unused == set(STANDARD)


STANDARD = (
    # Objects of Kubernetes that are passed on as they are, shown by their defaults.
    "resources.requests.cpu",
    "resources.requests.memory",
    "resources.limits.memory",
    "podSecurityContext.runAsNonRoot",
    "podSecurityContext.runAsUser",
    "podSecurityContext.runAsGroup",
    "podSecurityContext.seccompProfile.type",
    "securityContext.allowPrivilegeEscalation",
    "securityContext.readOnlyRootFilesystem",
    "securityContext.capabilities.drop",
    "metrics.dashboard.labels.grafana_dashboard",
)


def leaves(values: dict[str, Any], parent: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in values.items():
        found |= leaves(value, f"{parent}{name}.") if isinstance(value, dict) and value else {f"{parent}{name}"}
    return found


def is_in(path: str, used: set[str]) -> bool:
    return any(each == path or each.startswith(f"{path}.") for each in used)


def test_the_schema_knows_every_value_and_no_others() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) - {"global"} == set(yaml.safe_load((CHART / "values.yaml").read_text()))


def test_every_value_is_explained_or_part_of_one_that_is() -> None:
    said = {path for path, _, comment in documented_values() if comment}
    every = {path for path, _, _ in documented_values()}

    assert {path for path in every if not any(path == one or path.startswith(f"{one}.") for one in said)} == set()


def test_everything_that_is_made_from_the_chart_is_current() -> None:
    stale = [str(path.relative_to(ROOT)) for path, text in files().items() if path.read_text() != text]

    assert stale == [], "run: python tools/chart/render.py"


def test_the_chart_has_all_the_definitions_and_no_others() -> None:
    copies = {path.name: path.read_text() for path in (CHART / "files/crds").iterdir()}

    assert copies == {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}


def test_a_release_of_every_backend_is_the_package_s_program_and_name() -> None:
    known = yaml.safe_load((CHART / "files/backends.yaml").read_text())

    assert set(known) == set(BACKENDS) == set(PACKAGES)
    for backend, path in PACKAGES.items():
        project = tomllib.loads(path.read_text())["project"]
        (entry,) = (path.parent / "src").glob("*/__main__.py")
        assert list(project["scripts"]) == [f"{backend}-provisioner"]
        assert f'"{known[backend]["provisionerName"]}"' in entry.read_text()


def test_a_provisioner_of_ones_own_is_released_with_its_name_image_and_ports() -> None:
    made = render(yaml.safe_load((ROOT / "examples/s3-compatible/values.yaml").read_text()))
    deployment = one(made, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]

    assert container["image"] == "registry.example.com/buckets/garage-provisioner:1"
    assert "--provisioner-name=garage.example/bucket" in container["args"]
    assert deployment["metadata"]["labels"]["app.kubernetes.io/name"] == "garage-provisioner"


def test_the_chart_names_no_image_that_is_not_there_yet() -> None:
    for backend, known in yaml.safe_load((CHART / "files/backends.yaml").read_text()).items():
        released = tomllib.loads(PACKAGES[backend].read_text())["project"]["version"]

        assert numbers(known["tag"]) <= numbers(released)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


@pytest.mark.parametrize(
    ("image", "whole"),
    [
        ({}, f"{REGISTRY}/minio-provisioner:0.1.0"),
        ({"tag": "edge"}, f"{REGISTRY}/minio-provisioner:edge"),
        ({"repository": "mine"}, f"{REGISTRY}/mine:0.1.0"),
        ({"digest": f"sha256:{'0' * 64}"}, f"{REGISTRY}/minio-provisioner@sha256:{'0' * 64}"),
    ],
)
def test_an_image_is_named_by_its_parts(image: dict[str, str], whole: str) -> None:
    deployment = one(render({"backend": "minio", "image": {"registry": REGISTRY, **image}}), "Deployment")

    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert re.sub(r":\d+\.\d+\.\d+$", ":0.1.0", container["image"]) == whole


def test_a_single_replica_without_election_is_never_two_for_a_moment() -> None:
    alone, agreed = (
        one(render(a_release(replicas=1, leaderElection=election)), "Deployment") for election in (False, True)
    )

    assert alone["spec"]["strategy"] == {"type": "Recreate"}
    assert "strategy" not in agreed["spec"]


@pytest.mark.parametrize(
    ("backend", "identity", "annotations"),
    [
        (
            "aws-s3",
            {"aws": {"roleArn": "arn:aws:iam::111122223333:role/r"}},
            {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/r"},
        ),
        (
            "gcs",
            {"gcp": {"serviceAccount": "a@p.iam.gserviceaccount.com"}},
            {"iam.gke.io/gcp-service-account": "a@p.iam.gserviceaccount.com"},
        ),
        (
            "azure",
            {"azure": {"clientId": "11111111-2222-3333-4444-555555555555"}},
            {"azure.workload.identity/client-id": "11111111-2222-3333-4444-555555555555"},
        ),
    ],
)
def test_the_account_carries_the_identity_of_its_cloud(
    backend: str, identity: dict[str, Any], annotations: dict[str, str]
) -> None:
    with_it, without = (render(a_release(backend, workloadIdentity=each)) for each in (identity, {}))

    assert one(with_it, "ServiceAccount")["metadata"]["annotations"] == annotations
    assert "annotations" not in one(without, "ServiceAccount")["metadata"]
    labels = one(with_it, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert ("azure.workload.identity/use" in labels) == (backend == "azure")


def test_a_release_for_some_namespaces_has_the_rules_of_one_for_all_and_no_others() -> None:
    everywhere = one(render(a_release()), "ClusterRole")["rules"]
    some = render(a_release(namespaces=["shop", "blog"]))
    inside = [each["rules"] for each in some if each["kind"] == "Role" and each["metadata"]["namespace"] != "libbucket"]

    assert [*one(some, "ClusterRole")["rules"], *inside[0]] == everywhere
    assert inside[0] == inside[1]
    assert not any("secrets" in rule["resources"] for rule in one(some, "ClusterRole")["rules"])


def test_without_cluster_scope_nothing_of_the_cluster_is_made() -> None:
    made = render(a_release(namespaces=["shop"], rbac={"clusterScope": False}, crds={"install": False}))

    assert {each["kind"] for each in made} & {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"} == set()
    assert all("namespace" in each["metadata"] for each in made)


KINDS = "--api-versions=apps/v1/Deployment"
POLICIES = f"{KINDS},admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"


@pytest.mark.parametrize(
    ("enabled", "cluster", "is_made"),
    [
        pytest.param("auto", ("--kube-version=1.30.0",), True, id="rendered-for-1.30"),
        pytest.param("auto", ("--kube-version=1.29.9",), False, id="rendered-for-1.29"),
        pytest.param("auto", (POLICIES, "--kube-version=1.29.9"), True, id="cluster-with-the-kind"),
        pytest.param("auto", (KINDS, "--kube-version=1.31.0"), False, id="cluster-without-the-kind"),
        pytest.param(True, ("--kube-version=1.29.9",), True, id="on"),
        pytest.param(False, ("--kube-version=1.31.0",), False, id="off"),
    ],
)
def test_the_admission_policy_is_made_where_the_cluster_has_that_kind(
    enabled: str | bool, cluster: tuple[str, ...], is_made: bool
) -> None:
    made = render(a_release(admissionPolicy={"enabled": enabled}), extra=cluster)

    kinds = [each["kind"] for each in made if each["kind"].startswith("ValidatingAdmissionPolicy")]
    assert kinds == (["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] if is_made else [])


def test_an_admission_policy_that_the_cluster_can_not_have_is_refused() -> None:
    with pytest.raises(ChartRefused, match=r"needs ValidatingAdmissionPolicy, which this cluster does not have"):
        render(a_release(admissionPolicy={"enabled": True}), extra=(KINDS,))


@pytest.mark.parametrize(
    ("values", "account"),
    [
        ({}, "system:serviceaccount:libbucket:buckets"),
        ({"serviceAccount": {"create": False, "name": "given"}}, "system:serviceaccount:libbucket:given"),
    ],
)
def test_the_admission_policy_is_about_the_account_of_the_release_alone(values: dict[str, Any], account: str) -> None:
    (condition,) = one(render(a_release(**values)), "ValidatingAdmissionPolicy")["spec"]["matchConditions"]

    assert condition["expression"].endswith(f'request.userInfo.username == "{account}"')


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_folder_for_kustomize_has_the_admission_policy(backend: str) -> None:
    manifests = list(yaml.safe_load_all((ROOT / "deploy" / backend / "manifests.yaml").read_text()))
    policy, binding = (
        one(manifests, kind) for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    )

    (condition,) = policy["spec"]["matchConditions"]
    assert f'"system:serviceaccount:libbucket-{backend}:{backend}-provisioner"' in condition["expression"]
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}


def test_the_admission_policy_for_a_manual_installation_is_that_of_the_chart() -> None:
    page = (ROOT / "docs/operating.md").read_text()
    (text,) = re.findall(r"(?ms)^```yaml\n(# rights\.yaml\n.*?)^```$", page)
    manual = one(list(yaml.safe_load_all(text)), "ValidatingAdmissionPolicy")["spec"]
    values = a_release(serviceAccount={"name": "bucket-provisioner"})

    assert manual == one(render(values, namespace="bucket-provisioner"), "ValidatingAdmissionPolicy")["spec"]


def test_without_a_watch_secrets_can_be_neither_listed_nor_watched() -> None:
    watched, unwatched = (
        {verb for rule in one(made, "ClusterRole")["rules"] if "secrets" in rule["resources"] for verb in rule["verbs"]}
        for made in (render(a_release(watchSecrets=each)) for each in (True, False))
    )

    assert unwatched == {"get", "create", "patch", "delete"}
    assert watched - unwatched == {"list", "watch"}


@pytest.mark.parametrize("endpoint", ["https://minio.minio.svc:9000", "http://minio", "https://[2001:db8::1]:9443"])
def test_a_class_whose_store_is_an_allowed_egress_is_rendered_with_a_network_policy(endpoint: str) -> None:
    policy = {"enabled": True, "store": {"ports": [9443, 9000]}}
    parameters = {**MINIO_CLASS, "endpoint": endpoint}

    made = render(a_release(networkPolicy=policy, exampleClass={"create": True, "parameters": parameters}))

    assert one(made, "NetworkPolicy")


@pytest.mark.parametrize(
    ("backend", "client", "is_let_out"),
    [("azure", "", True), ("azure", "11111111-2222-3333-4444-555555555555", False), ("minio", "", False)],
)
def test_the_machines_identity_service_is_let_out_at_azure_without_workload_identity(
    backend: str, client: str, is_let_out: bool
) -> None:
    # "How to use managed identities on an Azure VM to acquire an access token"
    identity = {"workloadIdentity": {"azure": {"clientId": client}}} if client else {}
    made = render(a_release(backend, networkPolicy={"enabled": True}, **identity))

    assert ((80, "169.254.169.254/32") in _open_to(made)) == is_let_out


@pytest.mark.parametrize(("backend", "is_let_out"), [("aws-s3", True), ("minio", False)])
def test_the_agent_of_eks_pod_identity_is_let_out_for_aws_only(backend: str, is_let_out: bool) -> None:
    # https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html
    made = render(a_release(backend, networkPolicy={"enabled": True}))

    open_to = _open_to(made)
    agent = {(80, "169.254.170.23/32"), (80, "fd00:ec2::23/128"), (80, "169.254.169.254/32")}
    assert agent <= open_to if is_let_out else not agent & open_to


def _open_to(made: Any) -> set[tuple[int, str]]:
    """Ports and addresses that the provisioner may reach."""
    return {
        (port["port"], block["ipBlock"]["cidr"])
        for rule in one(made, "NetworkPolicy")["spec"]["egress"]
        for block in rule.get("to", [])
        if "ipBlock" in block
        for port in rule["ports"]
    }


def test_flags_that_limit_the_use_of_secrets_are_passed_on() -> None:
    values = a_release(adminSecretNamespaces=["vault", "minio"], watchSecrets=False)
    flags, defaults = (
        one(render(each), "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
        for each in (values, a_release())
    )

    assert [each for each in flags if each not in defaults] == [
        "--admin-secret-namespace=vault",
        "--admin-secret-namespace=minio",
        "--watch-secrets=false",
    ]


def test_exactly_the_named_administrators_secrets_can_be_read() -> None:
    secrets = [
        {"namespace": "minio", "name": "admin"},
        {"namespace": "minio", "name": "archive"},
        {"namespace": "shop", "name": "served-there-anyway"},
    ]
    roles = [each for each in render(a_release(namespaces=["shop"], adminSecrets=secrets)) if each["kind"] == "Role"]
    (found,) = [role for role in roles if role["metadata"]["namespace"] == "minio"]

    wanted = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["admin", "archive"], "verbs": ["get"]}
    assert found["rules"] == [wanted]
    assert len([role for role in roles if role["metadata"]["namespace"] == "shop"]) == 1


def test_crds_are_not_rendered_if_disabled_and_kept_on_uninstall_otherwise() -> None:
    with_them, without = (render(a_release(crds={"install": each})) for each in (True, False))
    found = [each for each in with_them if each["kind"] == "CustomResourceDefinition"]

    assert len(found) == 2
    assert all(each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for each in found)
    assert [each for each in without if each["kind"] == "CustomResourceDefinition"] == []


def test_a_class_of_the_chart_is_served_by_its_provisioner() -> None:
    values = a_release(provisionerName="example.com/x", exampleClass={"create": True, "parameters": MINIO_CLASS})
    found = one(render(values), "StorageClass")

    assert found["provisioner"] == "example.com/x"
    assert found["parameters"] == MINIO_CLASS
    flags = one(render(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--provisioner-name=example.com/x" in flags
