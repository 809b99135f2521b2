"""What the sweep's adapter says of MinIO, beside the real server: names of requests, and the form of refusals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree as ET

import pytest
import urllib3

from libbucket import BucketNotEmpty
from testkit.minio.answers import REQUESTS, error_answer, request_name
from testkit.minio.backend import Rerouted, _services
from testkit.minio.scripted_node import Asked, node_before

if TYPE_CHECKING:
    from libbucket.testing.conformance.environment import Environment
    from testkit.minio.backend import MinioBackend
    from testkit.minio.server import MinioServer

OF_FAILURES = {"AbortMultipartUpload", "DeleteObject"}
"""Sent for uploads and for names that XML can't carry: `test_settings_and_deletion` has both."""


def named(asked: Asked) -> str:
    path, _, query = asked.path.partition("?")
    signed = {"Authorization": f"Credential={asked.access_key}/"}
    return request_name(asked.method, unquote(path), dict(parse_qsl(query, keep_blank_values=True)), signed, b"")


def test_every_request_of_the_provisioner_has_a_name_and_every_name_is_used(
    environment: Environment, server: MinioServer, backend: MinioBackend
) -> None:
    with node_before(server, lambda _: None) as node:
        by = Rerouted(_services(server), node.url)
        request = environment.request(
            config={"maxSize": "1Gi", "bucketVersioning": "Enabled"}, parameters={"objectLocking": "true"}
        )
        tenant = environment.bind(request, greenfield=True, by=by)
        tenant.application.put(tenant.bucket, "key", b"x")
        with pytest.raises(BucketNotEmpty):
            by.delete_empty(tenant.record)
        by.delete(tenant.record)
        plain = environment.bind(environment.request(config={"bucketVersioning": "Enabled"}), greenfield=True, by=by)
        by.delete(plain.record)
    names = {named(asked) for asked in node.asked}
    assert names == REQUESTS - OF_FAILURES
    assert not backend.administrator.bucket_exists(tenant.bucket)


@pytest.mark.parametrize("request_", ["ListObjectsV2", "GetUserInfo"])
def test_a_refusal_has_the_form_of_the_server_s(server: MinioServer, request_: str) -> None:
    path = "/no-such-bucket" if request_ == "ListObjectsV2" else "/minio/admin/v3/user-info?accessKey=x"
    real = urllib3.PoolManager(retries=False).request("GET", server.url + path)
    code = "AccessDenied"
    status, headers, body = error_answer(code, 403, "Access Denied.", request=request_)
    assert status == real.status
    for name in ("Content-Type", "Server", "Accept-Ranges", "Strict-Transport-Security"):
        assert headers[name] == real.headers[name]
    assert {"x-amz-request-id", "x-amz-id-2"} <= {name.lower() for name in real.headers}
    if request_ == "GetUserInfo":
        assert set(json.loads(body)) <= set(json.loads(real.data))
    else:
        assert {field.tag for field in ET.fromstring(body)} <= {field.tag for field in ET.fromstring(real.data)}
