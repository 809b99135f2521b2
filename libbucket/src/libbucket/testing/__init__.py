"""What a provisioner is tested with: a real control plane, processes, fixtures, builders, the conformance suite.

Nothing is imported here, so that a unit test which wants one builder does not pay for a Kubernetes client.
Import the module that has what you need:

======================  ==========================================================================
`binaries`              etcd, kube-apiserver, kube-controller-manager, kubectl, any Go program
`controlplane`          starts them, or stands for a cluster that is there already
`admin`                 reads, writes and watches the cluster with plain dicts
`processes`             starts and stops programs so that none is left behind
`memory`                a provisioner without a store
`builders`              objects with defaults, so that a test shows only what matters
`conformance`           what every provisioner must do, as tests
`provisioner_process`   starts a provisioner as its own process
`fixtures`              the same as pytest fixtures
======================  ==========================================================================

Top layer: nothing in libbucket imports it. Names no store.
"""
