"""What the SDK's data says of AWS's partitions and regions: names, hosts, and what is signed for which region.

Used by `client` and `sdk_clients`. Sends nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import UnknownRegionError

from aws_s3_provisioner.parameters import TOLERANT_REGION
from libbucket import RetrySlowly

if TYPE_CHECKING:
    from botocore.loaders import Loader
    from botocore.session import Session

    from aws_s3_provisioner.parameters import Parameters


def partition_of(session: Session, parameters: Parameters) -> str:
    """`aws`, `aws-cn`, ...: the partition of the class's region.

    Raises:
        UnknownRegionError: AWS has no such region.
    """
    try:
        return session.get_partition_for_region(parameters.region)
    except UnknownRegionError:
        # An S3-compatible store has regions of its own.
        if parameters.tags_on_creation:
            raise
        return "aws"


def region_of_iam(session: Session, parameters: Parameters) -> str:
    """What requests to IAM are signed for: a partition has one IAM.

    Other stores that verify it want what nearly everyone sends, such as VersityGW (its iammiddleware/auth.go).
    """
    if not parameters.is_aws:
        return TOLERANT_REGION
    partition = partition_of(session, parameters)
    known = next(each for each in session.get_data("endpoints")["partitions"] if each["partition"] == partition)
    iam = known["services"].get("iam", {})
    endpoint = iam.get("endpoints", {}).get(iam.get("partitionEndpoint"), {})
    return str(endpoint.get("credentialScope", {}).get("region", parameters.region))


def destination(s3: Any) -> str:
    """Where the SDK sends requests, by its rules for endpoints.

    `meta.endpoint_url` is read from an older table, and is another host with dualstack in some partitions. The SDK has
    no public way to the rules; a test compares them with the table where that is right.
    """
    operation = s3.meta.service_model.operation_model("ListBuckets")
    url, _headers, _properties = s3._resolve_endpoint_ruleset(operation, {}, {})  # noqa: SLF001
    return str(url)


def suffix_of(loader: Loader, partition: str) -> str:
    """What host names end with, `amazonaws.com` or another."""
    known = loader.load_data("partitions")["partitions"]
    return str(next(each["outputs"]["dnsSuffix"] for each in known if each["id"] == partition))


def check_fips(loader: Loader, partition: str, region: str) -> None:
    """The SDK makes a host up for every region; its older table has those that exist.

    Raises:
        RetrySlowly: the region is known, and has none.
    """
    known = next(each for each in loader.load_data("endpoints")["partitions"] if each["partition"] == partition)
    found = known["services"].get("s3", {}).get("endpoints", {}).get(region)
    if found is not None and not any("fips" in one["tags"] for one in found.get("variants", ())):
        raise RetrySlowly(f"parameter fips is true, and AWS has no FIPS endpoint of S3 in {region}")
