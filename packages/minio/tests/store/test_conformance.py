"""MinIO keeps every promise of the conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from minio_backend import MinioBackend

from libbucket.testing.conformance import Conformance

if TYPE_CHECKING:
    from minio_server import MinioServer

    from libbucket.testing.conformance.world import World


class TestMinio(Conformance):
    @pytest.fixture
    def backend(self, server: MinioServer) -> MinioBackend:
        return MinioBackend(server)

    def test_a_setting_that_leaves_the_claim_is_reset(self, world: World) -> None:
        """Quotas are lifted; versioning, which S3 can't take back to never-was, ends as Suspended."""
        for key, value, afterwards in (
            ("maxSize", "1Gi", None),
            ("bucketMaxSize", "1Mi", None),
            ("bucketVersioning", "Enabled", "Suspended"),
        ):
            first = world.greenfield(world.request(config={key: value}))
            assert world.administrator.config(first.bucket, key) not in {None, afterwards}
            world.again(first, config={})
            assert world.administrator.config(first.bucket, key) == afterwards
