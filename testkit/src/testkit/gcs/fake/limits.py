"""Rates that Google enforces, by the fake's clock: one request each so many seconds, for one subject.

Written from
https://cloud.google.com/storage/quotas#buckets (creation and deletion of buckets: about one request every two seconds
and project; updates of a bucket's metadata and policy: one each second and bucket)
https://github.com/googleapis/google-cloud-python/pull/2161 (the answer: 429 `rateLimitExceeded`, without Retry-After)
https://github.com/GoogleCloudPlatform/python-docs-samples/issues/4033 (the same for updates of a bucket)
https://cloud.google.com/iam/quotas (write requests each minute and project: 429 RESOURCE_EXHAUSTED)
https://github.com/sagemathinc/cocalc, google-cloud/service-account.ts (new service accounts each minute and project: no
page has the figure; Google answers as at the quota of accounts, but with a RetryInfo of 60 seconds, not of a day)
https://github.com/kubeflow/pipelines/issues/1052 (the quota of accounts: a RetryInfo of a day and a second)
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from testkit.gcs.fake.wire import ApiError

if TYPE_CHECKING:
    from testkit.gcs.fake.model import Account, Json, Store


_TEXT: Final = "The project exceeded the rate limit for creating and deleting buckets."


def count_bucket(store: Store) -> None:
    """Counts a request that creates or deletes a bucket.

    Raises:
        ApiError: 429, sooner than `Knobs.bucket_seconds` after the last one.
    """
    _count(store, "buckets", store.knobs.bucket_seconds, _TEXT)


def count_update(store: Store, bucket: str) -> None:
    """Counts a request that changes the metadata or the policy of a bucket.

    Raises:
        ApiError: 429, sooner than `Knobs.update_seconds` after the last one.
    """
    _count(store, f"bucket {bucket}", store.knobs.update_seconds, _TEXT)


def count_iam_write(store: Store) -> None:
    """Counts a request that changes something in IAM.

    Raises:
        ApiError: 429, when there were `Knobs.iam_writes` of them in the last minute.
    """
    limit = store.knobs.iam_writes
    if limit is None:
        return
    now = store.clock.now()
    store.iam_writes = [each for each in store.iam_writes if each > now - timedelta(minutes=1)]
    if len(store.iam_writes) >= limit:
        text = "Quota exceeded for quota metric 'IAM write requests' and limit 'Write requests per minute'."
        raise ApiError(429, "rateLimitExceeded", text, info="RATE_LIMIT_EXCEEDED")
    store.iam_writes.append(now)


def count_account(store: Store) -> None:
    """Counts a service account that is about to be created.

    Raises:
        ApiError: 429, at the quota of the project, or when `Knobs.accounts_per_minute` were created in the last minute.
    """
    made: list[Account] = [each for each in store.accounts.values() if not each.permissions]
    if len(made) >= store.knobs.account_limit:
        text = "Maximum number of service accounts on project reached."
        raise ApiError(429, "rateLimitExceeded", text, details=[_retry_info(86401)])
    limit, since = store.knobs.accounts_per_minute, store.clock.now() - timedelta(minutes=1)
    if limit is not None and sum(each.created > since for each in made) >= limit:
        text = "A quota has been reached for project number 1: Service accounts created per minute per project."
        raise ApiError(429, "rateLimitExceeded", text, details=[_retry_info(60)])


def _retry_info(seconds: int) -> Json:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds}s"}


def _count(store: Store, subject: str, seconds: float, text: str) -> None:
    now, since = store.clock.now(), store.last_counted.get(subject)
    if since is not None and now < since + timedelta(seconds=seconds):
        raise ApiError(429, "rateLimitExceeded", text)
    store.last_counted[subject] = now
