"""MinIO in memory: for trials by the ten thousand, which a server in another process would take hours for.

    server    one request in, one answer out: who asks, whether they may, which API
    s3_api    buckets and objects
    admin_api users, policies, quotas
    policies  what a user's policies permit
    state     what there is

Answers as `tests/resilience/test_minio_fake.py` has seen the real server answer, request by request.
"""
