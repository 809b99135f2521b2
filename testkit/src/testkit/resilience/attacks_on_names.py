"""What a tenant tries with the name of a bucket: paths, encodings, homoglyphs, too much, line breaks."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Final

from kubernetes.client.exceptions import ApiException

from testkit.cluster.memory_environment import condition
from testkit.resilience.tenant_environment import Attack, reasons_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testkit.cluster.memory_environment import Wire
    from testkit.resilience.tenant_environment import Tenant, TenantEnvironment

_FORGED: Final = "2026-01-01T00:00:00Z [info     ] FORGED all is well"
_BREAKS: Final = ("\n", "\r", "\r\n", "\x85", "\u2028", "\x1b[2K\r", "\v")
_STARTS: Final = re.compile(r"\d{4}-\d\d-\d\dT")


def odd_names(bucket: str) -> Mapping[str, str]:
    """Names that lead to a bucket where code joins, decodes, folds, trims or cuts them."""
    return {
        "up and down again": f"x/../{bucket}",
        "from above": f"../{bucket}",
        "with a slash": f"{bucket}/",
        "with an object": f"{bucket}/kept",
        "with a backslash": f"..\\{bucket}",
        "URL-encoded": f"%2e%2e%2f{bucket}",
        "a letter URL-encoded": f"%{ord(bucket[0]):x}{bucket[1:]}",
        "with a query": f"{bucket}?policy",
        "with a fragment": f"{bucket}#x",
        "in capitals": bucket.upper(),
        "a homoglyph": bucket[:-1] + "\u0430",
        "in full width": "".join(chr(ord(each) + 0xFEE0) for each in bucket),
        "with nothing to see": f"{bucket}\u200b",
        "with a space": f"{bucket} ",
        "with a dot": f"{bucket}.",
        "with a line break": f"{bucket}\n",
        "with a NUL": f"{bucket}\x00",
        "an ARN": f"arn:aws:s3:::{bucket}",
        "an access point": "arn:aws:s3:us-east-1:000000000000:accesspoint/x",
        "a resource of Google's": f"projects/_/buckets/{bucket}",
        "a special container": "$root",
        "an address": "127.0.0.1",
        "one dot": ".",
        "two dots": "..",
        "two letters": "ab",
        "64 letters": "a" * 64,
        "a thousand letters": "a" * 1000,
        "a smile": "\U0001f642\U0001f642\U0001f642",
    }


def name_it_oddly(tenants: TenantEnvironment) -> str:
    thief, names = tenants.thief, odd_names(tenants.victim.bucket)
    at_the_door = [what for number, what in enumerate(names) if not _claim(thief, f"odd-{number}", names[what])]
    for number, what in enumerate(names):
        if what not in at_the_door:
            claim = thief.wait_reason(f"odd-{number}", "InvalidClaim", "BucketExists")
            assert claim["status"]["phase"] == "Failed", what
            assert thief.admin.find(thief.path("secrets", f"odd-{number}")) is None, what
            assert "\n" not in condition(claim)["message"], f"{what}: the message has several lines"
    for length in (3, 63):
        name = (thief.namespace + "z" * 63)[-length:] if length < 10 else (thief.namespace + "z" * 63)[:length]
        tenants.bind_control(f"good-{length}", bucketName=name)
    refused = len(names) - len(at_the_door)
    return f"{refused} Failed and {len(at_the_door)} not even stored; names of 3 and of 63 letters bind"


def begin_it_oddly(tenants: TenantEnvironment) -> str:
    """The same words as the beginning of a generated name, where they are only a wish."""
    thief, names = tenants.thief, list(odd_names(tenants.victim.bucket).values())
    made = [number for number, name in enumerate(names) if _claim(thief, f"odd-{number}", name, generated=True)]
    for number in made:
        bound = thief.wait_bound(f"odd-{number}")
        assert re.fullmatch(r"([a-z0-9](-?[a-z0-9])*-)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bound.bucket)
        assert len(bound.bucket) <= 63
        tenants.assert_own_only(bound)
    return f"{len(made)} bound, each to a name of letters, digits and hyphens with a UUID"


def name_claims_at_length(tenants: TenantEnvironment) -> str:
    """Claims whose own names are as long as names can be, and differ only at the end."""
    thief = tenants.thief
    names = ["c" * 62 + "d", "c" * 62 + "e", f"{'c' * 63}.{'d' * 63}.{'e' * 63}.{'f' * 60}g"]
    for name in names:
        thief.claim(name)
    bound = [thief.wait_bound(name) for name in names]
    for one in bound:
        tenants.assert_own_only(one)
        for other in bound:
            if one is not other:
                assert tenants.environment.is_refused(one, other.bucket), "two long names share a user"
    return "three claims, three buckets, three users"


def write_into_the_log(tenants: TenantEnvironment, log_format: str) -> str:
    """Line breaks and colours in every word of a claim that may come into the log."""
    thief, environment = tenants.thief, tenants.environment
    environment.kill()
    process = environment.start("--log-format", log_format)
    for number, each in enumerate(_BREAKS):
        forged = f"x{each}{_FORGED}"
        config = {f"key{forged}": "x", environment.store.config[0]: forged}
        _claim(thief, f"name-{number}", forged, additionalConfig={f"key{forged}": "x"})
        _claim(thief, f"key-{number}", "key", generated=True, additionalConfig=config)
    for number, _ in enumerate(_BREAKS):
        for kind in ("name", "key"):
            if thief.admin.find(thief.claim_path(f"{kind}-{number}")):
                thief.wait(f"{kind}-{number}", lambda one: bool(reasons_of(one) - {"Provisioning"}))
    tenants.bind_control()
    lines = process.log().splitlines()
    said = sum("FORGED" in line for line in lines)
    assert said, "the words never came into the log: the attack is none"
    for line in lines:
        assert (line.startswith("{") and json.loads(line)) if log_format == "json" else _STARTS.match(line), line
        assert not line.startswith(_FORGED), line
        assert line.isprintable(), ascii(line)
    environment.kill()
    environment.start()
    return f"{said} lines hold the words, and each is one line"


def _claim(thief: Tenant, name: str, bucket: str, *, generated: bool = False, **spec: object) -> bool:
    """Makes a claim; False where the API server does not store it."""
    names: Wire = {"generateBucketName": bucket} if generated else {"bucketName": bucket, "generateBucketName": "x"}
    try:
        thief.claim(name, **(names | spec))
    except ApiException as error:
        if error.status not in {400, 422}:
            raise
        return False
    return True


ATTACKS: Final = (
    Attack(name="odd-names", expected="InvalidClaim; no name leads to another bucket", run=name_it_oddly),
    Attack(name="odd-beginnings", expected="made fit, and unique", run=begin_it_oddly, once=True),
    Attack(name="long-claims", expected="each its own bucket and user", run=name_claims_at_length),
    *(
        Attack(
            name=f"log-{log_format}",
            expected="one log line stays one line",
            run=partial(write_into_the_log, log_format=log_format),
            once=True,
            quick=log_format == "text",
        )
        for log_format in ("text", "json")
    ),
)
