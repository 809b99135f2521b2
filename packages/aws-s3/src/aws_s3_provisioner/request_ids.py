"""Ids of requests: what AWS's support asks for, and what a message about an answer is logged with.

Used by all that makes calls. Knows where S3, IAM and STS put them, and nothing else of an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Answered(Generic[T]):
    """What an answer says, with the id of the request that it answers.

    Attributes:
        value: what it says.
        request_id: of the request; "" where it is not needed.
    """

    value: T
    request_id: str


def request_id_of(parsed: Mapping[str, Any]) -> str:
    """What AWS's support asks for: the id of the request, and where there is one of the host; "" for none.

    Args:
        parsed: an answer as the SDK gives it, `ClientError.response` included.
    """
    metadata = parsed.get("ResponseMetadata", {})
    headers = metadata.get("HTTPHeaders", {})
    # IAM repeats the id in the body, and an answer without a body, or of what stands before AWS, has the header only.
    request = str(metadata.get("RequestId") or request_id_in(headers))
    host = str(metadata.get("HostId") or headers.get("x-amz-id-2", ""))
    return f"{request}, x-amz-id-2 {host}" if request and host else request


def request_id_in(headers: Mapping[str, str]) -> str:
    """The id of the request in the headers of its answer; "" for none."""
    return headers.get("x-amzn-requestid") or headers.get("x-amz-request-id") or ""
