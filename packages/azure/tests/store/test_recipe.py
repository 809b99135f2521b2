"""What the documentation tells an administrator of Azure to do binds claims: the page on deploying, and the role."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient

from azure_provisioner.parameters import parse_parameters
from libbucket import AccessDenied, NotReady, StoreRefused
from libbucket.testing import builders
from libbucket.testing.application import Refused
from libbucket.testing.conformance.environment import Environment, assert_works
from testkit.azure.application import AzureApplication, client_settings
from testkit.azure.backend import a_provisioner
from testkit.azure.fake_entra import CLIENT, TENANT

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure_provisioner.client import Network
    from azure_provisioner.provisioner import AzureProvisioner
    from libbucket import BucketOptions
    from libbucket.testing.conformance.environment import Tenant
    from testkit.azure.azurite import AzuriteServer
    from testkit.azure.fake_entra import FakeEntra
    from testkit.azure.front_end import Front

ROOT: Final = Path(__file__).parents[4]
README: Final = (Path(__file__).parents[2] / "README.md").read_text()
ROLE: Final[dict[str, Any]] = json.loads(re.findall("```json\n(.*?)```", README, re.DOTALL)[0])
ACTIONS: Final = frozenset([*ROLE["Actions"], *ROLE["DataActions"]])
SERVICE: Final = "Microsoft.Storage/storageAccounts/blobServices/"


def recipe() -> str:
    page = (ROOT / "docs" / "deploying.md").read_text()
    return page.partition("\n## Azure Blob Storage\n")[2].partition("\n## ")[0]


@pytest.fixture
def pod(
    tls_server: AzuriteServer, entra: FakeEntra, trusting: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AzureProvisioner:
    """The provisioner in a pod whose service account has a federated identity."""
    (tmp_path / "token").write_text(entra.assertion)
    variables = {"TENANT_ID": TENANT, "CLIENT_ID": CLIENT, "FEDERATED_TOKEN_FILE": str(tmp_path / "token")}
    for name, value in {**variables, "AUTHORITY_HOST": entra.url}.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    return a_provisioner(tls_server, network=trusting)


def asked(environment: Environment, server: AzuriteServer, given: dict[str, str], entra: FakeEntra) -> BucketOptions:
    """A claim of a class with these parameters, for this server; Entra ID is the only other change."""
    here = {"storageAccount": server.account, "endpoint": server.endpoint, "authorityHost": entra.url}
    return replace(environment.request(), parameters={**given, **here})


def test_the_recipe_of_the_page_on_deploying_binds_a_claim(
    tls_world: Environment, tls_server: AzuriteServer, entra: FakeEntra, pod: AzureProvisioner
) -> None:
    given = dict(re.findall(r"exampleClass\.parameters\.(\w+)=(\S+)", recipe()))
    assert parse_parameters(given).account == "examplestore"
    assert "workloadIdentity.azure.clientId" in recipe()
    tenant = tls_world.bind(asked(tls_world, tls_server, given, entra), greenfield=True, by=pod)
    assert_works(tenant)


def test_the_role_of_the_recipe_allows_what_a_claim_may_do_by_default(
    tls_world: Environment, tls_server: AzuriteServer, tls_front: Front, entra: FakeEntra, pod: AzureProvisioner
) -> None:
    """Storage Blob Data Contributor: "Azure built-in roles for Storage", Azure RBAC."""
    beyond = {"deleteBlobVersion/action", "filter/action", "tags/read", "tags/write"}
    tls_front.actions = ACTIONS - {f"{SERVICE}containers/blobs/{each}" for each in beyond}
    request = asked(tls_world, tls_server, {"credentials": "user-delegation-sas"}, entra)
    tenant = tls_world.bind(request, greenfield=True, by=pod)
    it = application(tls_front, tenant)
    it.put(tenant.bucket, "a", b"1")
    it.multipart(tenant.bucket, "b", [b"1", b"2"])
    assert it.list_keys(tenant.bucket) == ["a", "b"]
    assert it.get(tenant.bucket, "b") == b"12"
    it.delete(tenant.bucket, "a")
    it.close()
    pod.delete(tenant.record)


def test_the_recipe_assigns_the_role_that_the_identity_needs() -> None:
    assert re.search(r"az role assignment create.*\"Storage Blob Data Contributor\"", recipe().replace("\\\n", ""))


@pytest.mark.parametrize("name", ["class.yaml", "brownfield-class.yaml"])
def test_the_classes_of_the_examples_bind_claims(tls_world: Environment, tls_server: AzuriteServer, name: str) -> None:
    found = yaml.safe_load((ROOT / "examples" / "azure" / name).read_text())
    given: dict[str, str] = found["parameters"]
    assert not parse_parameters(given).warnings
    is_greenfield = "bucketName" not in given
    bucket = None if is_greenfield else tls_world.foreign_bucket()
    here = {"storageAccount": tls_server.account, "endpoint": tls_server.endpoint}
    request = replace(tls_world.request(bucket=bucket), parameters={**given, **here})
    assert_works(tls_world.bind(request, greenfield=is_greenfield))


@pytest.fixture
def bound(
    tls_world: Environment, tls_server: AzuriteServer, tls_front: Front, entra: FakeEntra, pod: AzureProvisioner
) -> Tenant:
    """A claim whose SAS was signed by an identity with exactly the role of the README."""
    tls_front.actions = ACTIONS
    given = {"credentials": "user-delegation-sas", "permissions": "racwdxltf"}
    request = asked(tls_world, tls_server, given, entra)
    return tls_world.bind(request, greenfield=True, by=pod)


def application(front: Front, tenant: Tenant) -> AzureApplication:
    """What the claim's pod has, through the front."""
    text = tenant.credentials.additional_secret_data["AZURE_STORAGE_CONNECTION_STRING"].reveal()
    return AzureApplication.with_connection_string(text.replace(front.server.endpoint, front.url))


USES: Final[dict[str, Callable[[AzureApplication, str], object]]] = {
    "containers/blobs/read": lambda it, name: it.get(name, "a"),
    "containers/blobs/write": lambda it, name: it.multipart(name, "b", [b"1"]),
    "containers/blobs/add/action": lambda it, name: it.put(name, "c", b"1"),
    "containers/blobs/delete": lambda it, name: it.delete(name, "a"),
    "containers/blobs/tags/read": lambda it, name: it.blob(name, "a").get_blob_tags(),
    "containers/blobs/tags/write": lambda it, name: it.blob(name, "a").set_blob_tags({"colour": "red"}),
    "containers/blobs/filter/action": lambda it, name: list(
        it.service.get_container_client(name).find_blobs_by_tags("colour='red'")
    ),
    "containers/blobs/deleteBlobVersion/action": lambda it, name: it.blob(name, "a").delete_blob(
        version_id="2026-11-03T10:00:00.0000000Z"
    ),
}
"""For each data action, what an application does that needs it."""


def test_the_role_of_the_readme_lets_a_claim_do_what_its_letters_say(bound: Tenant, tls_front: Front) -> None:
    it = application(tls_front, bound)
    it.put(bound.bucket, "a", b"1")
    for action, use in USES.items():
        assert not is_refused(use, it, bound.bucket), action
        it.put(bound.bucket, "a", b"1")
    assert {f"{SERVICE}{each}" for each in USES} == set(ROLE["DataActions"])
    it.close()


@pytest.mark.parametrize("action", USES)
def test_each_data_action_of_the_role_is_needed(bound: Tenant, tls_front: Front, action: str) -> None:
    it = application(tls_front, bound)
    it.put(bound.bucket, "a", b"1")
    # A new blob may be made with either of these two.
    others = {"containers/blobs/write"} if action == "containers/blobs/add/action" else set()
    tls_front.actions = ACTIONS - {f"{SERVICE}{each}" for each in {action, *others}}
    assert is_refused(USES[action], it, bound.bucket)
    it.close()


def is_refused(use: Callable[[AzureApplication, str], object], it: AzureApplication, bucket: str) -> bool:
    """Whether Azure refuses it for want of an action; azurite itself knows no versions and finds nothing by tags."""
    try:
        use(it, bucket)
    except Refused:
        return True
    except HttpResponseError as error:
        return error.status_code == 403
    return False


def test_the_action_that_the_list_of_containers_lacks_is_named(
    tls_server: AzuriteServer, tls_front: Front, entra: FakeEntra, pod: AzureProvisioner, bound: Tenant
) -> None:
    here = {"storageAccount": tls_server.account, "endpoint": tls_server.endpoint, "authorityHost": entra.url}
    parameters = {"credentials": "user-delegation-sas", **here}
    tls_front.actions = ACTIONS - {f"{SERVICE}containers/read"}
    with pytest.raises(AccessDenied, match=re.escape("containers/read")):
        dict(pod.list_buckets(parameters))
    tls_front.actions = frozenset({f"{SERVICE}containers/read"})
    assert bound.bucket in dict(pod.list_buckets(parameters))
    tls_front.actions = ACTIONS


GET_INFO: Final = "getInfo/action"
"""Without it, nobody is told that an account has a hierarchical namespace; claims are served."""


@pytest.mark.parametrize(
    "action", [name for each in ROLE["Actions"] if (name := each.removeprefix(SERVICE)) != GET_INFO]
)
def test_each_action_of_the_role_is_needed_and_named_where_it_is_missing(
    tls_world: Environment,
    tls_server: AzuriteServer,
    tls_front: Front,
    entra: FakeEntra,
    pod: AzureProvisioner,
    action: str,
) -> None:
    request = asked(tls_world, tls_server, {"credentials": "user-delegation-sas"}, entra)
    tls_front.actions = ACTIONS
    earlier = tls_world.bind(request, greenfield=True, by=pod)
    tls_front.actions = ACTIONS - {f"{SERVICE}{action}"}
    with pytest.raises(AccessDenied, match=re.escape(action)):
        _create_and_delete(pod, replace(request, bucket_name=f"{request.bucket_name}-2"), earlier)
    tls_front.actions = ACTIONS
    pod.delete(earlier.record)
    assert not tls_world.administrator.bucket_exists(earlier.bucket)
    tls_world.administrator.purge_bucket(f"{request.bucket_name}-2")


def _create_and_delete(by: AzureProvisioner, later: BucketOptions, earlier: Tenant) -> None:
    by.provision(later)
    by.delete(earlier.record)


def test_keys_of_an_account_are_rotated_without_a_gap(
    tls_world: Environment, tls_server: AzuriteServer, trusting: Network
) -> None:
    """The commands of the README: the other key into the Secret, new SAS, restart, regenerate the first key."""
    first = tls_world.tenant(greenfield=True)
    other_key = a_provisioner(tls_server, {"AZURE_STORAGE_KEY": tls_server.second_key}, network=trusting)
    moved = tls_world.again(first, by=other_key)
    assert moved.credentials != first.credentials
    assert_works(first)
    assert_works(moved)
    again = tls_world.again(moved, by=other_key)
    assert again.credentials == moved.credentials


def test_an_account_without_keys_serves_claims_with_an_identity_and_says_so_to_others(
    tls_world: Environment, tls_server: AzuriteServer, tls_front: Front, entra: FakeEntra, pod: AzureProvisioner
) -> None:
    tls_front.forbids_keys = True
    request = asked(tls_world, tls_server, {"credentials": "user-delegation-sas"}, entra)
    tenant = tls_world.bind(request, greenfield=True, by=pod)
    it = application(tls_front, tenant)
    it.put(tenant.bucket, "a", b"1")
    it.close()
    with pytest.raises(AccessDenied, match="credentials: user-delegation-sas"):
        a_provisioner(tls_server).provision(tls_world.request())


def test_a_hierarchical_namespace_is_listed_without_versions(
    tls_world: Environment, tls_server: AzuriteServer, tls_front: Front
) -> None:
    tenant = tls_world.greenfield()
    tls_front.is_hierarchical = True
    with BlobServiceClient(
        tls_server.url,
        credential={"account_name": tls_server.account, "account_key": tls_server.key},
        **client_settings(tls_server.ca_file),
    ) as owner:
        owner.get_blob_client(tenant.bucket, "a").upload_blob(b"1")
        with pytest.raises(Exception, match="holds blobs"):
            tls_world.delete_empty(tenant.record)
        owner.get_blob_client(tenant.bucket, "a").delete_blob()
    tls_world.delete_empty(tenant.record)
    assert not tls_world.administrator.bucket_exists(tenant.bucket)


def test_an_account_with_a_hierarchical_namespace_is_refused_before_anything_is_made(
    tls_world: Environment, tls_front: Front, tls_server: AzuriteServer
) -> None:
    shared = tls_world.greenfield()
    owned = tls_world.administrator.settings(shared.bucket)
    policies = set(tls_world.administrator.policies(shared.bucket))  # type: ignore[attr-defined]
    request = tls_world.request()
    tls_front.is_hierarchical = True
    provisioner = a_provisioner(tls_server)
    with pytest.raises(StoreRefused, match="hierarchical namespace, which is not supported"):
        provisioner.provision(request)
    with pytest.raises(StoreRefused, match="hierarchical namespace"):
        provisioner.grant(tls_world.request(bucket=shared.bucket))
    assert not tls_world.administrator.bucket_exists(request.bucket_name)
    assert tls_world.administrator.settings(shared.bucket) == owned
    assert set(tls_world.administrator.policies(shared.bucket)) == policies  # type: ignore[attr-defined]
    again = provisioner.provision(builders.again(shared.request, shared.answer))
    assert again.connection.endpoint == shared.answer.connection.endpoint, "who was bound before stays bound"


def test_an_identity_that_may_not_ask_about_the_account_is_served(
    tls_world: Environment, tls_server: AzuriteServer, tls_front: Front, entra: FakeEntra, pod: AzureProvisioner
) -> None:
    tls_front.actions = ACTIONS - {f"{SERVICE}{GET_INFO}"}
    tls_front.is_hierarchical = True
    request = asked(tls_world, tls_server, {"credentials": "user-delegation-sas"}, entra)
    assert_works(tls_world.bind(request, greenfield=True, by=pod))


def test_a_firewall_that_shuts_the_provisioner_out_is_named(
    tls_world: Environment, tls_server: AzuriteServer, tls_front: Front
) -> None:
    tls_front.is_walled = True
    with pytest.raises((AccessDenied, NotReady), match="firewall"):
        a_provisioner(tls_server).provision(tls_world.request())
