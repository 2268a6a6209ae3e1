"""The local cluster: a real Kubernetes for the demo, the tests and trying things, and the images that run on it.

``hack/cluster`` is the command. Only the standard library: a plain Debian's Python runs it before anything is installed.

    cli ─► kinds ─► node_cluster | kind_cluster | current_cluster ─► namespaces, cgroups, certificates, binaries …
                                    │ starts
                                    ▼
                    node: process 1 of the cluster's namespaces ─► components: every part's arguments (pure)

Nothing of the product is here, and nothing of the product imports this.
"""
