"""What a verb returns for a claim that has its bucket: the ConfigMap's fields, and what to remember.

Used by `provisioner`. Pure, but for what it reads of the bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcs_provisioner.access import MEMBER_STATE, find_member
from gcs_provisioner.account_names import ACCOUNT_STATE
from gcs_provisioner.buckets import PROJECT_STATE
from gcs_provisioner.keys import PROJECT_KEY, remembered
from gcs_provisioner.parameters import Kind
from libbucket import Connection, Endpoint, ObjectBucket

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

    from gcs_provisioner.request import Request
    from libbucket import Authentication, BucketOptions


def build_answer(
    request: Request, options: BucketOptions, found: Bucket, authentication: Authentication
) -> ObjectBucket:
    """The answer for a claim.

    Args:
        request: of this verb.
        options: the claim.
        found: its bucket.
        authentication: what its Secret is to hold.
    """
    parameters = request.parameters
    endpoint = Endpoint(
        bucket_host=parameters.host,
        bucket_port=parameters.port,
        bucket_name=request.bucket,
        region=(found.location or "").lower(),
        additional_config={
            "BUCKET_SSL": "true" if parameters.is_secure else "false",
            "BUCKET_ENDPOINT": parameters.endpoint,
            "BUCKET_URL": f"gs://{request.bucket}",
            **({PROJECT_KEY: request.clients.project} if parameters.kind is Kind.FEDERATION else {}),
        },
    )
    state = {PROJECT_STATE: str(found.project_number)}
    if parameters.kind is Kind.FEDERATION:
        state[MEMBER_STATE] = find_member(request, options, str(found.project_number))
    else:
        state[ACCOUNT_STATE] = request.identity.email
    state |= remembered(authentication, is_shared=request.identity.is_shared)
    return ObjectBucket(
        connection=Connection(endpoint=endpoint, authentication=authentication, additional_state=state),
        warnings=parameters.warnings,
        repairs=tuple(request.repairs),
    )
