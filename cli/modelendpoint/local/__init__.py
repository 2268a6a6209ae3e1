"""Endpoints on this machine: the operator's own engine on a cluster that is made of processes and files.

Nothing here plans, judges or moves traffic: that is ``modelendpoint_operator``, unchanged. What a cluster does by
itself is here, and what must read differently because there is one machine and no container.

::

    instance     ``mep local up``: everything below put together, one for each state folder
    cluster      the operator's port ``Cluster``: objects, pods, routers and reports, observed and written
    objects      the API server: objects as files, who wants to hear of changes
    sources      the YAML files that people write, and the model files beside them
    node         controllers and kubelet: Deployments become pods, headless Services become Envoy's lists of hosts
    pods         the life of one pod: start, probes, restarts with back-off, end
    deployments  how many pods to create and to end
    relocation   manifests and Envoy's documents with this machine's ports and folders in them
    mounts       ConfigMaps and Secrets as folders, changed as the kubelet changes them
    processes    processes that can be found again and ended after a crash
    control      how other ``mep`` commands talk to the running instance
    snapshot     what an instance shows of itself
    view         the terminal view of a snapshot
"""
