"""Garage in memory: the calls of its admin API and of its S3 API that the example and its tests make.

    state      what there is
    admin_api  buckets, aliases, keys, permissions, quotas
    s3_api     who asks, whether they may, objects
    server     two ports, as the real one has them

Written from the sources of Garage 2.5.0, on https://docs.rs/crate/garage_api_admin/2.5.0/source and its siblings; each
behaviour names its file. `nox -s stores` runs the same tests on the real server.
"""
