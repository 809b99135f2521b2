"""Hooks of the SDK's clients: what is added to a request, and which answers are refused before the SDK parses them.

Registered by `sdk_clients`. Each is called by the SDK with more than it names. Knows no verb, bucket or identity.
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

from aws_s3_provisioner.errors import THROTTLING, Elsewhere
from aws_s3_provisioner.pacing import LONGEST_WAIT
from aws_s3_provisioner.request_ids import request_id_in, request_id_of
from libbucket import NotReady, RetrySlowly, StoreUnavailable, Throttled, parse_retry_after

if TYPE_CHECKING:
    from aws_s3_provisioner.pacing import Pacer
    from libbucket import ProvisionerError

_WEB_PAGE: Final = (b"<html", b"<!doctype html")
_ELSEWHERE: Final = frozenset({301, 302, 307})
_ELSEWHERE_CODES: Final = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect"})
_FOR_NOW: Final = frozenset({302, 307})
"""Redirects of S3 that end: of a name that is being removed in one region and made in another."""


def expect_owner(account: str, params: dict[str, Any], model: Any, **_: object) -> None:
    """Has S3 refuse a bucket of another account in every request that can say so.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html.
    """
    if model.input_shape is not None and "ExpectedBucketOwner" in model.input_shape.members:
        params.setdefault("ExpectedBucketOwner", account)


def wait_for_turn(pacer: Pacer, **_: object) -> None:
    """Spaces the requests of all workers; the wait is shorter than the request.

    Raises:
        Throttled: it would be longer, because IAM has throttled the account.
    """
    wait = pacer.reserve()
    if wait > LONGEST_WAIT:
        raise Throttled("IAM throttles this AWS account: its requests are spaced", delay=wait)
    time.sleep(wait)


def note_pace(pacer: Pacer, parsed: Any, **_: object) -> None:
    """Tells the pacer whether IAM throttles."""
    if parsed.get("Error", {}).get("Code") in THROTTLING:
        pacer.throttled()
    else:
        pacer.succeeded()


def sum_as_of_old(request: Any, **_: object) -> None:
    """Gives a request that must have a checksum the one that all stores know, in place of the SDK's CRC32.

    Source: https://github.com/aws/aws-sdk-js-v3/issues/6819. AWS keeps the SDK's: its FIPS endpoints have no MD5.
    """
    sums = [name for name in request.headers if name.lower().startswith(("x-amz-checksum-", "x-amz-sdk-checksum-"))]
    if not sums or not isinstance(request.data, bytes):
        return
    for name in sums:
        del request.headers[name]
    digest = hashlib.md5(request.data, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()


def hear_out_a_proxy(response_dict: Any, event_name: str, **_: object) -> None:
    """Reads what stands before AWS and fails, or asks for fewer requests, in words that the SDK can't parse.

    Raises:
        Throttled: with the delay that was asked for.
        StoreUnavailable: a failure of its own, such as a gateway's.
    """
    status, headers, body = (response_dict[each] for each in ("status_code", "headers", "body"))
    if status < 300:  # the content of an object may be a stream that is not read yet
        return
    # Pages in S3's place the SDK does parse, and has made a 500 of any status by now.
    is_known_page = event_name.startswith("before-parse.s3.")
    if body.lstrip().startswith(b"<") and (is_known_page or not _is_page(body)):
        return
    told: Any = {"delay": parse_retry_after(headers.get("Retry-After")), "request_id": request_id_in(headers)}
    if status in {429, 503}:
        raise Throttled(f"AWS, or a proxy before it, throttles requests (HTTP {status})", **told)
    if status >= 500:
        raise StoreUnavailable(f"AWS, or a proxy before it, is unavailable (HTTP {status})", **told)


def _is_page(body: bytes) -> bool:
    return body.lstrip()[:20].lower().startswith(_WEB_PAGE)


def refuse_foreign_answer(response: Any, operation: Any, **_: object) -> None:
    """Refuses three answers that the SDK would take for something else.

    It follows a bucket to another region by itself: the claim would be told the wrong one, and what is done would be
    done elsewhere than the class says. And it takes a web page for a failure that passes, and any redirect for S3's.
    """
    if response is None:
        return
    http, parsed = response
    request_id = request_id_of(parsed)
    if http.status_code in _ELSEWHERE or parsed.get("Error", {}).get("Code") in _ELSEWHERE_CODES:
        raise _elsewhere(http.status_code, parsed, request_id)
    # The SDK has turned the status of a page into 500 by now; the connection knows what it was. A stream is read later.
    is_stream = operation.has_streaming_output and http.status_code < 300
    if not is_stream and http.raw.status < 500 and _is_page(http.content):
        raise RetrySlowly(
            "a web page answers instead of AWS: parameter s3Endpoint must be the address of an API, not of a console",
            request_id=request_id,
        )


def _elsewhere(status: int, parsed: Any, request_id: str) -> ProvisionerError:
    code, headers = parsed.get("Error", {}).get("Code"), parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = parsed.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    if status in _FOR_NOW:
        return NotReady(
            f"S3 is still moving the name of the bucket from one region to another ({code})", request_id=request_id
        )
    # S3 names itself by a code, or where the answer can have no body, by the header.
    if code not in _ELSEWHERE_CODES and not region:
        return RetrySlowly(
            f"a redirect that is not S3's answers instead of it ({code}): the way to AWS, or parameter s3Endpoint, "
            "leads to another server",
            request_id=request_id,
        )
    region = region or "another region"
    message = f"the bucket is in {region}, not where parameter region says: nothing was changed ({code})"
    return Elsewhere(message, region=region, request_id=request_id)
