"""Lists that have no end, and buckets that take long: what one call does is bounded, whatever a server answers."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from libbucket import NotReady, PurgeUnfinished
from testkit.gcs.fake import server
from testkit.gcs.fake.wire import Answer, ApiError

if TYPE_CHECKING:
    from libbucket.testing.conformance.environment import Environment
    from testkit.gcs.backend import GcsBackend
    from testkit.gcs.fake import FakeGcs
    from testkit.gcs.fake.model import Store
    from testkit.gcs.fake.wire import Request


@pytest.mark.parametrize(
    "path", ["/storage/v1/b/[^/]+/o", "/storage/v1/projects/[^/]+/hmacKeys"], ids=["objects", "HMAC keys"]
)
def test_a_list_whose_pages_do_not_end_is_given_up(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Google answers pages without any item, too: after many deletions, or for one account of many."""
    tenant = environment.tenant(greenfield=True)
    real, pages = server._answer, [0]

    def instead(store: Store, request: Request) -> Answer:
        if request.method != "GET" or not re.fullmatch(path, request.path):
            return real(store, request)
        pages[0] += 1
        if pages[0] > 500:  # more than any call should ask for
            return ApiError(418, "endless", "There are no more.").as_json()
        return Answer(200, json.dumps({"kind": "storage#x", "nextPageToken": f"p{pages[0]}"}).encode())

    monkeypatch.setattr(server, "_answer", instead)
    with pytest.raises(NotReady, match="does not end"):
        environment.provisioner.delete(tenant.record)
    monkeypatch.undo()

    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)


def test_many_managed_folders_take_many_calls(environment: Environment, backend: GcsBackend, fake: FakeGcs) -> None:
    """An application may make as many as it likes."""
    fake.knobs.page_size = 3
    stepwise = backend.stepwise_provisioner()
    tenant = environment.greenfield(environment.request(parameters={"revocationSeconds": "0"}))
    fake.store.buckets[tenant.bucket].folders = {f"f{number}/" for number in range(7)}
    left = []
    while environment.administrator.bucket_exists(tenant.bucket):
        with suppress(PurgeUnfinished):
            stepwise.delete(tenant.record)
        found = fake.store.buckets.get(tenant.bucket)
        left.append(len(found.folders) if found is not None else 0)
    assert left[:7] == [6, 5, 4, 3, 2, 1, 0]


def test_a_managed_folder_with_children_on_a_later_page_is_removed(environment: Environment, fake: FakeGcs) -> None:
    fake.knobs.page_size = 3
    tenant = environment.greenfield(environment.request(parameters={"revocationSeconds": "0"}))
    fake.store.buckets[tenant.bucket].folders = {"a/", *(f"a/{number:04}/" for number in range(5))}
    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)


def test_managed_folders_that_are_kept_end_the_call(environment: Environment, fake: FakeGcs) -> None:
    """As where an object was written into one meanwhile: the next call sees to that."""
    tenant = environment.greenfield(environment.request(parameters={"revocationSeconds": "0"}))
    bucket = fake.store.buckets[tenant.bucket]
    bucket.folders = {"a/"}
    with pytest.MonkeyPatch.context() as patch:
        conflict = ApiError(409, "conflict", "The managed folder is not empty.").as_json()
        real = server._answer
        patch.setattr(
            server, "_answer", lambda store, request: conflict if _is_folder(request) else real(store, request)
        )
        with pytest.raises(NotReady, match="is not empty"):
            environment.provisioner.delete(tenant.record)
    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)


def _is_folder(request: Request) -> bool:
    return request.method == "DELETE" and "/managedFolders/" in request.target
