"""Fault injection: crashes at every step, tenant isolation, replicas, outages, soak; one proxy before every server."""
