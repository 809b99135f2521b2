"""Ceph RGW 16.2, whose IAM API makes no users: every claim of a class gets the administrator's own keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.aws_s3.ceph_rgw import ceph_rgw, missing_programs
from testkit.aws_s3.shared_keys import SharedKeys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.aws_s3.emulators import AwsServer


@pytest.fixture(scope="module")
def store() -> Iterator[AwsServer]:
    missing = missing_programs()
    if missing:
        pytest.skip(f"{', '.join(missing)} not found: install Debian's packages ceph-mon, ceph-osd and radosgw")
    with ceph_rgw() as running:
        yield running


class TestCephRgw(SharedKeys):
    region = "default"  # the api_name of its zone group
