"""The caches of a controller: what is kept of each object, and by what it is found."""

from __future__ import annotations

from libbucket._kube.cache import Cache, Unwatched
from libbucket._kube.compaction import compact_claim, compact_metadata
from libbucket._kube.resources import BUCKETS, CLAIMS, CLASSES, CONFIG_MAP_METADATA, SECRET_METADATA
from libbucket._kube.summaries import Summaries
from libbucket._reconcile.model.claim_ref import claim_key_of
from libbucket._reconcile.model.context import Caches
from libbucket._reconcile.model.summaries import bucket_summary, claim_summary


def new_caches(*, watch_secrets: bool = True) -> Caches:
    """Empty ones."""
    claims, buckets = Summaries(claim_summary), Summaries(bucket_summary)
    return Caches(
        claims=Cache(CLAIMS.type, compact=compact_claim, summaries=claims),
        claim_summaries=claims,
        buckets=Cache(BUCKETS.type, group=claim_key_of, summaries=buckets),
        bucket_summaries=buckets,
        classes=Cache(CLASSES.type, group=lambda one: one.provisioner),
        secrets=Cache(SECRET_METADATA.type, compact=compact_metadata)
        if watch_secrets
        else Unwatched(SECRET_METADATA.type),
        config_maps=Cache(CONFIG_MAP_METADATA.type, compact=compact_metadata),
    )
