"""Answers of Azure that contradict each other: nothing is done on doubt, and the claim's log has a request id."""

from __future__ import annotations

import pytest

from azure_provisioner.client import Network
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import NotReady, SecretStr, Services
from libbucket.testing import builders
from testkit.azure.error_answers import error_answer
from testkit.resilience.proxy import Instead, Request
from testkit.resilience.wire import Wire, wired

PARAMETERS = {"storageAccount": "account", "secretName": "admin", "secretNamespace": "azure"}


def test_a_container_that_exists_and_is_not_found_is_told_with_the_request_of_the_refusal() -> None:
    ids: list[str] = []

    def answered(request: Request) -> Instead:
        if request.method != "PUT":
            code, status = ("ContainerNotFound", 404) if "restype=container" in request.target else ("NoSuchPage", 403)
            answer = error_answer(code, status)
        else:
            answer = error_answer("ContainerAlreadyExists", 409)
            ids.append(answer[1]["x-ms-request-id"])
        return Instead(status=answer[0], headers=answer[1], body=answer[2])

    services = Services(read_secret=lambda *_: {"AZURE_STORAGE_KEY": SecretStr("a2V5")})
    with (
        wired(Wire(answered, lambda _seconds: None), ".blob.core.windows.net"),
        pytest.raises(NotReady, match="deleted concurrently") as caught,
    ):
        AzureProvisioner(services, Network()).provision(builders.options(bucket_name="photos", parameters=PARAMETERS))
    assert [caught.value.request_id] == ids
