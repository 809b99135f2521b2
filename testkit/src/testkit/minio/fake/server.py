"""A MinIO in memory: who asks, whether they may, and which API answers. Sockets are `testkit.resilience.wire`'s."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from testkit.minio.answers import ADMIN_PATH, error_answer, request_name
from testkit.minio.fake.admin_api import answer_admin
from testkit.minio.fake.policies import permits
from testkit.minio.fake.s3_api import Asked, action_of, answer_s3
from testkit.minio.fake.signatures import identify
from testkit.minio.fake.state import MinioRefusal, State
from testkit.minio.server import ROOT_PASSWORD, ROOT_USER, MinioServer
from testkit.resilience.proxy import Instead, Request

HOST_SUFFIX: Final = ".minio.example"
_HEADERS: Final = {"Server": "MinIO", "x-amz-request-id": "18A2F6B7D1C0E95D"}


@dataclass(frozen=True, kw_only=True)
class FakeMinio(MinioServer):
    """One deployment.

    Attributes:
        other_url: the same deployment under another name.
        state: what it keeps.
    """

    url: str = f"http://one{HOST_SUFFIX}:9000"
    console_url: str = ""
    ca_bundle: str = ""
    other_url: str = f"http://other{HOST_SUFFIX}:9000"
    state: State = field(default_factory=lambda: State(root=(ROOT_USER, ROOT_PASSWORD)), repr=False)

    def answer(self, request: Request) -> Instead:
        """The answer to a request."""
        try:
            return self._answered(request)
        except MinioRefusal as refusal:
            name = request_name(request.method, request.path, request.query, request.headers, request.body)
            status, headers, body = error_answer(refusal.code, refusal.status, "told by the server", request=name)
            return Instead(status=status, headers=headers, body=body)

    def _answered(self, request: Request) -> Instead:
        caller = identify(self.state, request)
        if request.path.startswith(ADMIN_PATH):
            return Instead(status=200, headers=_HEADERS, body=answer_admin(self.state, request, caller))
        asked = Asked.of(request)
        self._check_permitted(caller, asked)
        status, headers, body = answer_s3(self.state, asked)
        return Instead(status=status, headers={**_HEADERS, **headers}, body=body)

    def _check_permitted(self, caller: str, asked: Asked) -> None:
        """Before the bucket is looked for: MinIO refuses what is not permitted whether it is there or not."""
        if caller == self.state.root[0]:
            return
        user = self.state.users[caller]
        documents = [self.state.policies[name] for name in user.policies if name in self.state.policies]
        resource = f"{asked.bucket}/{asked.key}" if asked.key else asked.bucket
        if not permits(documents, action_of(asked), resource):
            raise MinioRefusal(403, "AccessDenied")
