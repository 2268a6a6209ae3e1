"""The operator: keeps what runs in the cluster equal to what each ModelEndpoint declares.

Data flows one way, once per pass::

     watch event ─► handlers ─► workqueue ─► reconciler
                                               │  1 observe        2 plan        3 apply
                                               ▼                     ▼              ▼
                                           adapters ──Observation──► planner ──Plan──► adapters
                                        (Kubernetes, Envoy)   (pure; `now` is an argument)

Nothing after ``observe`` reads the world; nothing after ``make_plan`` decides.
"""
