"""Endpoints and batch predictions on this machine: the operator's engine on a cluster that is made of processes and files.

Nothing here plans, judges or moves traffic: that is ``modelendpoint_operator``, unchanged. What a cluster does by
itself is here, and what must read differently because there is one machine and no container.

::

    instance     ``mep local up``: everything below put together, one for each state folder
    cluster      the operator's port ``Cluster``: objects, pods, routers and reports, observed and written
    batches      the operator's port ``Batches``: runs, Jobs and workers, observed and written
    objects      the API server: objects as files, who wants to hear of changes
    sources      the YAML files that people write, and the model files beside them
    batch_files  what in the YAML of batch predictions reads differently here
    watching     which of those have changed
    copies       copies of those, so that a revision keeps its bytes
    state        the state folder: who uses it, and what a crash has left in it
    node         controllers and kubelet: Deployments and Jobs become pods, headless Services become Envoy's lists of hosts
    pods         the life of one pod: start, probes, restarts with back-off, end
    deployments  how many pods to create and to end
    jobs         which pods a Job creates and ends, and when it is over
    containers   what an image, a port and a volume are on this machine
    probes       readiness and the others, asked as the kubelet asks them
    relocation   manifests and Envoy's documents with this machine's ports and folders in them
    worker       what a batch worker is told, in the same way
    mounts       ConfigMaps and Secrets as folders, changed as the kubelet changes them
    processes    processes that can be found again and ended after a crash
    events       what has happened, for people
    wording      the operator's messages in the commands of this machine
    snapshot     what an instance shows of itself
    latency      how long answers took, as the router counted it
    view         the terminal view of a snapshot
    batch_view   the part of it that is about batch predictions
    control      how other ``mep`` commands talk to the running instance
    client       the running instance as those commands see it
    orders       promote, abort and the others as annotations
    ports        free ports, and those that endpoints keep
"""
