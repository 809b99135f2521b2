"""What a Garage in memory keeps. Plain data: knows no request."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from testkit.aws_s3.fake_objects import Objects

REGION: Final = "garage"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class GarageRefusal(Exception):
    """An answer that is no success.

    Args:
        status: of HTTP; `http_status_code` in garage_api_common/common_error.rs and garage_api_admin/error.rs.
        code: `aws_code` in the same files.
    """

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


@dataclass(kw_only=True)
class Key:
    """An access key: `Key::new` in garage_model/key_table.rs.

    Attributes:
        name: any text; several keys may have the same.
        id: `GK` and 12 bytes in hexadecimal.
        secret: 32 bytes in hexadecimal.
    """

    name: str
    id: str = field(default_factory=lambda: f"GK{secrets.token_hex(12)}")
    secret: str = field(default_factory=lambda: secrets.token_hex(32))


@dataclass(kw_only=True)
class Bucket:
    """A bucket: garage_model/bucket_table.rs.

    Attributes:
        id: 32 bytes in hexadecimal.
        aliases: global ones.
        allowed: names of permissions by the id of a key.
        quotas: `maxSize` and `maxObjects`; None for no limit.
        objects: in it.
        parts: of unfinished uploads, by upload and number.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(32))
    aliases: list[str] = field(default_factory=list)
    allowed: dict[str, set[str]] = field(default_factory=dict)
    quotas: dict[str, int | None] = field(default_factory=lambda: {"maxSize": None, "maxObjects": None})
    objects: Objects = field(default_factory=Objects)
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict)


@dataclass(kw_only=True)
class State:
    """All of it.

    Attributes:
        token: `admin_token` of the configuration.
        buckets: by id.
        keys: by id.
    """

    token: str
    buckets: dict[str, Bucket] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)

    def bucket(self, bucket_id: str) -> Bucket:
        """`get_existing_bucket` in garage_model/helper/bucket.rs."""
        if not re.fullmatch("[0-9a-f]{64}", bucket_id):
            raise GarageRefusal(400, "InvalidRequest")
        if bucket_id not in self.buckets:
            raise GarageRefusal(404, "NoSuchBucket")
        return self.buckets[bucket_id]

    def resolve(self, name: str) -> Bucket:
        """By alias or by id: `resolve_global_bucket_fast` in the same file."""
        found = self.buckets.get(name) or next((each for each in self.buckets.values() if name in each.aliases), None)
        if found is None:
            raise GarageRefusal(404, "NoSuchBucket")
        return found

    def key(self, key_id: str) -> Key:
        """`get_existing_key` in garage_model/helper/key.rs."""
        if key_id not in self.keys:
            raise GarageRefusal(404, "NoSuchAccessKey")
        return self.keys[key_id]


def is_valid_name(name: str) -> bool:
    """`is_valid_bucket_name` in garage_model/bucket_alias_table.rs."""
    is_address = re.fullmatch(r"[0-9]+(\.[0-9]+){3}", name) is not None
    has_punycode = name.startswith("xn--") or ".xn--" in name
    return bool(_NAME.fullmatch(name)) and not is_address and not has_punycode and not name.endswith("-s3alias")
