"""Endpoints, and what a real API server answers to each: accepted, or refused with these words.

The cluster tests ask one; ``mep lint`` must say the same without one.
"""

from typing import Any

import yaml

from modelendpoint_operator.names import API_VERSION, KIND


def an_endpoint(name: str = "churn", **spec: Any) -> str:
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"model": {"uri": "s3://models/churn/3/model.onnx"}, **spec},
    }
    return yaml.safe_dump(document)


def model(uri: str, **fields: Any) -> dict[str, Any]:
    return {"model": {"uri": uri, **fields}}


def resources(**amounts: Any) -> dict[str, Any]:
    return {"server": {"resources": amounts}}


def server(**fields: Any) -> dict[str, Any]:
    return {"server": fields}


def autoscaling(**fields: Any) -> dict[str, Any]:
    return {"autoscaling": fields}


def steps(*items: dict[str, Any], **rollout: Any) -> dict[str, Any]:
    return {"rollout": {**rollout, "steps": list(items)}}


def gates(**kinds: Any) -> dict[str, Any]:
    return {"rollout": {"gates": kinds}}


def replay(*, rows: str = "s3://records/churn/", results: str = "s3://reports/churn/") -> dict[str, Any]:
    return gates(replay=[{"name": "recorded", "input": {"uri": rows}, "output": {"uri": results}}])


def capture(uri: str, **fields: Any) -> dict[str, Any]:
    return {"monitoring": {"capture": {"uri": uri, **fields}}}


def routing(**parts: Any) -> dict[str, Any]:
    return {"routing": parts}


def variants(*items: dict[str, Any]) -> dict[str, Any]:
    return {"variants": [{"name": f"v{index}", **model("s3://m/k"), **item} for index, item in enumerate(items)]}


ACCEPTED = [
    ("churn", {}),
    ("a", {}),
    ("a" * 40, {}),
    ("churn-r2d2", {}),
    ("router", {}),
    ("churn", {"replicas": 0}),
    ("churn", replay()),
    ("churn", model("gs://bucket/a b".replace(" ", "%20"))),
    ("churn", model("hf://org/repo@main/model.onnx")),
    ("churn", model("https://host.example/model.onnx?version=3")),
    ("churn", model("oci://registry.example/churn:3")),
    ("churn", model("configmap://tiny/model.onnx")),
    ("churn", model("pvc://models/churn/3/model.onnx")),
    ("churn", model("pvc://models/a..b/model.onnx")),
    ("churn", model("s3://m/k", credentialsSecretRef={"name": "models"}, sha256="a" * 64, version="3")),
    ("churn", model("s3://m/k", goldenExamples={"uri": "configmap://golden/churn.json", "absoluteTolerance": 0.5})),
    ("churn", {"server": {"batching": {"maxSize": 0}, "limits": {"maxRows": 10}}}),
    ("churn", {"server": {"executionProviders": ["CUDAExecutionProvider", "CPUExecutionProvider"]}}),
    ("churn", resources(requests={"cpu": 2, "memory": "1Gi"}, limits={"cpu": "2", "memory": "1024Mi"})),
    ("churn", resources(requests={"cpu": "500m"}, limits={"memory": 16777216})),
    ("churn", resources(limits={"cpu": 1})),
    ("churn", resources()),
    (
        "churn",
        server(
            nodeSelector={"pool": "fast", "example.com/gpu": ""},
            tolerations=[{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}, {"key": "gpu"}],
            topologySpreadConstraints=[{"topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}],
            priorityClassName="serving",
        ),
    ),
    (
        "churn",
        routing(
            gateway={"parentRefs": [{"name": "public", "namespace": "infra", "sectionName": "https", "port": 443}]},
            ingress={"hostnames": ["churn.example.com"], "className": "nginx", "annotations": {"a.b/c": ""}},
        ),
    ),
    ("churn", autoscaling(maxReplicas=1, targetRequestsPerSecond=0.5)),
    ("churn", autoscaling(minReplicas=0, maxReplicas=1)),
    ("churn", autoscaling(minReplicas=0, maxReplicas=3, targetRequestsPerSecond=5, idleSeconds=5, wakeSeconds=600)),
    ("churn", autoscaling(minReplicas=2, maxReplicas=9, targetCPUUtilizationPercent=60, scaleDownAfterSeconds=0)),
    (
        "churn",
        autoscaling(maxReplicas=9, targetCPUUtilizationPercent=60) | resources(limits={"cpu": "2", "memory": "1Gi"}),
    ),
    ("churn", steps({"weight": 5}, {"weight": 5, "pause": True}, {"weight": 100, "holdSeconds": 0})),
    ("churn", steps({"weight": 5, "holdSeconds": 60, "pause": False})),
    ("churn", steps()),
    ("churn", steps({"weight": 50}, strategy="Replace")),
    ("churn", {"rollout": {"strategy": "Replace"}}),
    ("churn", {"rollout": {"strategy": "BlueGreen", "preview": {"pause": True}, "keepSeconds": 0, "bakeSeconds": 60}}),
    ("churn", {"rollout": {"strategy": "BlueGreen", "preview": {"holdSeconds": 60, "pause": False}}}),
    ("churn", {"rollout": {"strategy": "BlueGreen", "preview": {}}}),
    ("churn", steps({"weight": 0, "pause": True}, {"weight": 5}, strategy="Canary", keepSeconds=10)),
    ("churn", steps({"weight": 5}, candidateReplicas=2, onFailure="Pause")),
    ("churn", gates()),
    ("churn", routing(auth={"none": {}})),
    ("churn", routing(auth={"apiKeys": {"secretRef": {"name": "churn-keys"}, "header": "Authorization"}})),
    ("churn", routing(auth={"jwt": {"issuer": "i", "audiences": ["a"], "jwksConfigMapRef": {"name": "login"}}})),
    ("churn", routing(cors={"allowOrigins": ["*"]})),
    (
        "churn",
        routing(
            cors={
                "allowOrigins": ["https://app.example.com", "http://localhost:3000", "https://*.shop.example:8443"],
                "allowHeaders": ["X-Trace"],
                "allowCredentials": True,
                "maxAgeSeconds": 0,
            }
        ),
    ),
    ("churn", routing(rateLimit={"requests": 100})),
    ("churn", routing(rateLimit={"requests": 1, "perSeconds": 3600, "by": "Address"})),
    ("churn", routing(rateLimit={"requests": 10, "by": "Header", "header": "X-Customer-Id"})),
    (
        "churn",
        routing(
            auth={"apiKeys": {"secretRef": {"name": "churn-keys"}}}, rateLimit={"requests": 1_000_000, "by": "Client"}
        ),
    ),
    ("churn", routing(tls={"secretRef": {"name": "churn-tls"}})),
    ("churn", capture("s3://captures/churn")),
    ("churn", capture("pvc://claim/churn/", percent=0.5, format="JSONLines", redact=["a"], maxSeconds=5)),
    ("churn", capture("gs://captures/churn", hash=["a"], hashKeySecretRef={"name": "key"}, serviceAccountName="w")),
    ("churn", routing(tls={"secretRef": {"name": "churn-tls"}, "allowHttp": True}, ingress={"hostnames": ["a.b"]})),
    ("churn", routing(stickyBy={"header": "X-Customer-Id"})),
    ("churn", routing(stickyBy={"cookie": "customer_id"})),
    ("churn", gates(errorRate={}, latency={}, insufficientData={"action": "Rollback"}, confidencePercent=99.9)),
    ("churn", gates(http=[{"name": "alive", "path": "/v2/health/ready"}, {"name": "judge", "url": "http://judge/"}])),
    ("churn", gates(http=[{"name": "a", "url": "http://judge-$(CANDIDATE).$(NAMESPACE).svc:80/x", "body": "{}"}])),
    (
        "churn",
        gates(prometheus=[{"name": "a", "query": "up", "min": 0, "max": 0}, {"name": "b", "query": "1", "max": 2}]),
    ),
    ("churn", gates(prometheus=[{"name": "a", "query": "up", "min": -0.5}], http=[{"name": "a", "path": "/"}])),
    ("churn", gates(prometheus=[{"name": "a", "query": "up", "min": -2, "max": -1.5}])),
    ("churn", gates(latency={"maxIncreasePercent": 0, "maxIncreaseMilliseconds": 0}, minimumRequests=1)),
]

ACCEPTED += [
    ("churn", variants({"name": "challenger", "weight": 10}, {"weight": 90, "replicas": 3}, {})),
    ("churn", variants({**resources(limits={"cpu": 1}), **model("pvc://models/m.onnx")})),
    ("churn", {"variants": []}),
    ("churn", variants({}) | {"shadows": [{"name": "next", **model("s3://m/k"), "percent": 10}]}),
    ("churn", variants({"match": {"header": {"name": "X-Tester", "exact": "yes, please"}}}, {"weight": 5})),
    ("churn", routing(allowPinning=True)),
]

BREAKING_A_RULE = [
    ("churn", variants({"name": "candidate"}), "spec.variants[0].name: Forbidden: is what the revisions of the main"),
    (
        "churn",
        variants({"weight": 50}, {"weight": 51}, {}),
        "spec.variants: Forbidden: the weights together must not be above 100",
    ),
    (
        "churn",
        variants({}) | {"shadows": [{"name": "v0", **model("s3://m/k")}]},
        "spec.shadows: Forbidden: a shadow must not have the name of a variant",
    ),
    ("churn", variants(model("s3://bucket")), "spec.variants[0].model.uri: Forbidden: must have a path"),
    (
        "churn",
        variants({}, resources(limits={"memory": 512})),
        "spec.variants[1].server.resources.limits.memory: Forbidden: must be at least 16Mi",
    ),
    ("9lives", {}, "metadata.name: Forbidden: Services are named after it"),
    ("a" * 41, {}, "metadata.name: Forbidden: Services are named after it"),
    ("churn.v2", {}, "metadata.name: Forbidden: Services are named after it"),
    ("churn-router", {}, "metadata.name: Forbidden: must not end in -router"),
    ("churn-r7", {}, "metadata.name: Forbidden: must not end in -router"),
    ("churn-monitor", {}, "metadata.name: Forbidden: must not end in -router, -monitor"),
    (
        "churn",
        capture("s3://captures/churn", hash=["customer"]),
        "spec.monitoring.capture.hashKeySecretRef: Forbidden: must be there for hash",
    ),
    ("churn", capture("s3://captures"), "spec.monitoring.capture.uri: Forbidden: must have a path"),
    ("churn", capture("pvc://claim"), "spec.monitoring.capture.uri: Forbidden: must be pvc://<claim>/<path>"),
    (
        "churn",
        capture("s3://me:pw@captures/churn"),
        "spec.monitoring.capture.uri: Forbidden: must not hold credentials: put them into a Secret and name it in spec.mon",
    ),
    (
        "churn",
        capture("pvc://claim/churn", credentialsSecretRef={"name": "captures"}),
        "spec.monitoring.capture.credentialsSecretRef: Forbidden: is of no use",
    ),
    (
        "churn",
        replay(results="s3://reports/*"),
        "spec.rollout.gates.replay[0].output.uri: Forbidden: must be one folder",
    ),
    (
        "churn",
        replay(results="s3://records/churn/out/"),
        "spec.rollout.gates.replay[0].output.uri: Forbidden: must not be inside input.uri",
    ),
    (
        "churn",
        replay(rows="configmap://rows"),
        "spec.rollout.gates.replay[0].input.uri: Forbidden: must be configmap://<name>/<key>",
    ),
    (
        "churn",
        replay(rows="s3://me:pw@records/churn/"),
        "spec.rollout.gates.replay[0].input.uri: Forbidden: must not hold credentials: put them into a Secret and name it",
    ),
    ("churn", {"monitoring": {}}, "spec.monitoring: Forbidden: needs capture, drift or both"),
    (
        "churn",
        {"monitoring": {"capture": {"uri": "s3://captures/churn"}} | resources(limits={"memory": 5})["server"]},
        "spec.monitoring.resources.limits.memory: Forbidden: must be at least 16Mi",
    ),
    ("churn", model("configmap://tiny"), "spec.model.uri: Forbidden: must be configmap://<name>/<key>"),
    ("churn", model("configmap://tiny/a/b"), "spec.model.uri: Forbidden: must be configmap://<name>/<key>"),
    ("churn", model("pvc://claim"), "spec.model.uri: Forbidden: must be pvc://<claim>/<path>"),
    ("churn", model("pvc://claim/a/../../b"), "spec.model.uri: Forbidden: must be pvc://<claim>/<path>"),
    ("churn", model("pvc://claim/.."), "spec.model.uri: Forbidden: must be pvc://<claim>/<path>"),
    ("churn", model("s3://bucket"), "spec.model.uri: Forbidden: must have a path"),
    ("churn", model("s3://bucket/"), "spec.model.uri: Forbidden: must have a path"),
    ("churn", model("https://me:pw@host/m.onnx"), "spec.model.uri: Forbidden: must not hold credentials"),
    (
        "churn",
        model("s3://m/k", goldenExamples={"uri": "configmap://golden"}),
        "spec.model.goldenExamples.uri: Forbidden: must be configmap://<name>/<key>",
    ),
    (
        "churn",
        model("pvc://claim/m.onnx", credentialsSecretRef={"name": "models"}),
        "spec.model.credentialsSecretRef: Forbidden: is of no use",
    ),
    (
        "churn",
        resources(requests={"cpu": 2}, limits={"cpu": "1500m"}),
        "spec.server.resources.requests.cpu: Forbidden: requests.cpu must not be above limits.cpu",
    ),
    (
        "churn",
        resources(requests={"memory": "2G"}, limits={"memory": "1Gi"}),
        "spec.server.resources.requests.memory: Forbidden: requests.memory must not be above limits.memory",
    ),
    (
        "churn",
        server(priorityClassName="system-node-critical"),
        "spec.server.priorityClassName: Forbidden: must not begin with system-",
    ),
    ("churn", server(tolerations=[{"value": "gpu"}]), "spec.server.tolerations[0]: Forbidden: must have a key"),
    (
        "churn",
        server(tolerations=[{"key": "gpu"}, {"key": "gpu", "operator": "Exists", "value": "yes"}]),
        "spec.server.tolerations[1].value: Forbidden: is of no use with the operator Exists",
    ),
    (
        "churn",
        server(tolerations=[{"key": "gpu", "effect": "NoSchedule", "tolerationSeconds": 5}]),
        "spec.server.tolerations[0].tolerationSeconds: Forbidden: is for the effect NoExecute",
    ),
    (
        "churn",
        autoscaling(minReplicas=3, maxReplicas=2, targetRequestsPerSecond=10),
        "spec.autoscaling.maxReplicas: Forbidden: must not be below minReplicas",
    ),
    ("churn", autoscaling(maxReplicas=2), "spec.autoscaling: Forbidden: must have targetRequestsPerSecond"),
    (
        "churn",
        autoscaling(minReplicas=0, maxReplicas=2),
        "spec.autoscaling: Forbidden: must have targetRequestsPerSecond",
    ),
    (
        "churn",
        autoscaling(minReplicas=0, maxReplicas=1) | {"shadows": [{"name": "next", "model": {"uri": "s3://m/next"}}]},
        "spec.autoscaling.minReplicas: Forbidden: must not be 0 beside variants or shadows",
    ),
    (
        "churn",
        autoscaling(maxReplicas=2, targetCPUUtilizationPercent=60) | resources(limits={"memory": "1Gi"}),
        "spec.autoscaling.targetCPUUtilizationPercent: Forbidden: is in percent of server.resources.requests.cpu",
    ),
    (
        "churn",
        resources(requests={"memory": "400m"}),
        "spec.server.resources.requests.memory: Forbidden: must be at least 16Mi",
    ),
    (
        "churn",
        resources(limits={"memory": 512}),
        "spec.server.resources.limits.memory: Forbidden: must be at least 16Mi",
    ),
    ("churn", steps({"weight": 20}, {"weight": 10}), "spec.rollout.steps: Forbidden: a weight must not be below"),
    (
        "churn",
        steps({"weight": 5}, {"weight": 20, "pause": True, "holdSeconds": 60}),
        "spec.rollout.steps[1].pause: Forbidden: a step either holds for holdSeconds or pauses",
    ),
    (
        "churn",
        {"rollout": {"strategy": "BlueGreen", "preview": {"pause": True, "holdSeconds": 60}}},
        "spec.rollout.preview.pause: Forbidden: a preview either holds for holdSeconds or pauses",
    ),
    (
        "churn",
        {"rollout": {"preview": {"holdSeconds": 60}}},
        "spec.rollout.preview: Forbidden: is for the strategy BlueGreen",
    ),
    (
        "churn",
        {"rollout": {"strategy": "Replace", "preview": {}}},
        "spec.rollout.preview: Forbidden: is for the strategy BlueGreen",
    ),
    (
        "churn",
        {"rollout": {"strategy": "Replace", "candidateReplicas": 2}},
        "spec.rollout.candidateReplicas: Forbidden: is for the strategy Canary",
    ),
    (
        "churn",
        steps({"weight": 20}, {"weight": 10}, strategy="BlueGreen"),
        "spec.rollout.steps: Forbidden: a weight must not be below",
    ),
    (
        "churn",
        steps({"weight": 0, "pause": True, "holdSeconds": 0}),
        "spec.rollout.steps[0].pause: Forbidden: a step either holds for holdSeconds or pauses",
    ),
    (
        "churn",
        gates(prometheus=[{"name": "a", "query": "up", "min": 0}, {"name": "b", "query": "up", "min": -1, "max": -2}]),
        "spec.rollout.gates.prometheus[1].max: Forbidden: must not be below min",
    ),
    (
        "churn",
        {"rollout": {"strategy": "BlueGreen", "candidateReplicas": 2}},
        "spec.rollout.candidateReplicas: Forbidden: is for the strategy Canary",
    ),
    (
        "churn",
        gates(prometheus=[{"name": "a", "query": "up"}]),
        "spec.rollout.gates.prometheus[0]: Forbidden: must have min, max or both",
    ),
    (
        "churn",
        gates(prometheus=[{"name": "a", "query": "up", "min": 1, "max": 0.5}]),
        "spec.rollout.gates.prometheus[0].max: Forbidden: must not be below min",
    ),
    (
        "churn",
        gates(http=[{"name": "a", "path": "/"}, {"name": "b"}]),
        "spec.rollout.gates.http[1]: Forbidden: must have either path, to ask the candidate, or url",
    ),
    (
        "churn",
        gates(http=[{"name": "a", "path": "/", "url": "http://judge/"}]),
        "spec.rollout.gates.http[0]: Forbidden: must have either path, to ask the candidate, or url",
    ),
    ("churn", routing(auth={}), "spec.routing.auth: Forbidden: must have exactly one of none, apiKeys and jwt"),
    (
        "churn",
        routing(auth={"none": {}, "apiKeys": {"secretRef": {"name": "k"}}}),
        "spec.routing.auth: Forbidden: must have exactly one of none, apiKeys and jwt",
    ),
    (
        "churn",
        routing(auth={"jwt": {"issuer": "i", "audiences": ["a"]}}),
        "spec.routing.auth.jwt: Forbidden: must have either jwksConfigMapRef or jwksSecretRef",
    ),
    *(
        (
            "churn",
            routing(cors={"allowOrigins": ["https://app.example.com", origin]}),
            "spec.routing.cors.allowOrigins[1]: Forbidden: must be an origin as browsers send it",
        )
        for origin in (
            "app.example.com",
            "https://app.example.com/",
            "https://App.example.com",
            "https://*",
            "https://a.*.example.com",
            "https://*example.com",
            "ftp://app.example.com",
            "https://app.example.com:0",
            "null",
        )
    ),
    *(
        (
            "churn",
            routing(cors={"allowOrigins": [origin]}),
            "spec.routing.cors.allowOrigins[0]: Forbidden: must not have the port that browsers leave out",
        )
        for origin in ("https://app.example.com:443", "http://*.example.com:80")
    ),
    (
        "churn",
        routing(cors={"allowOrigins": ["https://app.example.com", "*"], "allowCredentials": True}),
        "spec.routing.cors.allowCredentials: Forbidden: must not be true while every page may call",
    ),
    *(
        (
            "churn",
            routing(rateLimit={"requests": 10, **by}),
            "spec.routing.rateLimit.header: Forbidden: must be there with by: Header",
        )
        for by in ({"by": "Header"}, {"header": "x-customer-id"}, {"by": "Address", "header": "x-customer-id"})
    ),
    *(
        (
            "churn",
            routing(rateLimit={"requests": 10, "by": "Client"}, **auth),
            "spec.routing.rateLimit.by: Forbidden: Client needs auth.apiKeys or auth.jwt",
        )
        for auth in ({}, {"auth": {"none": {}}})
    ),
    ("churn", routing(stickyBy={}), "spec.routing.stickyBy: Forbidden: must have either header or cookie"),
    (
        "churn",
        routing(stickyBy={"header": "x-customer-id", "cookie": "customer"}),
        "spec.routing.stickyBy: Forbidden: must have either header or cookie",
    ),
]

WRONG_VALUES = [
    (routing(gateway={"hostnames": ["a.b"]}), "spec.routing.gateway.parentRefs: Required value"),
    (routing(gateway={"parentRefs": []}), "spec.routing.gateway.parentRefs: Invalid value: 0"),
    (
        routing(ingress={"hostnames": ["Upper.example"]}),
        'spec.routing.ingress.hostnames[0]: Invalid value: "Upper.example"',
    ),
    ({"variants": [{"name": "b"}]}, "spec.variants[0].model: Required value"),
    (variants({"name": "B"}), 'spec.variants[0].name: Invalid value: "B"'),
    (variants({"name": "a" * 21}), "spec.variants[0].name: Too long"),
    (variants({"name": "b"}, {"name": "b"}), "spec.variants[1]: Duplicate value"),
    (variants({"match": {}}), "spec.variants[0].match.header: Required value"),
    (variants({"match": {"header": {"name": "x-tester"}}}), "spec.variants[0].match.header.exact: Required value"),
    (
        variants({"match": {"header": {"name": "x_tester", "exact": "1"}}}),
        'spec.variants[0].match.header.name: Invalid value: "x_tester"',
    ),
    (
        variants({"match": {"header": {"name": "x-tester", "exact": " 1"}}}),
        'spec.variants[0].match.header.exact: Invalid value: " 1"',
    ),
    (routing(tls={}), "spec.routing.tls.secretRef: Required value"),
    (routing(rateLimit={}), "spec.routing.rateLimit.requests: Required value"),
    (routing(rateLimit={"requests": 0}), "spec.routing.rateLimit.requests: Invalid value: 0"),
    (routing(rateLimit={"requests": 1, "by": "Key"}), 'spec.routing.rateLimit.by: Unsupported value: "Key"'),
    (capture("https://host/captures"), 'spec.monitoring.capture.uri: Invalid value: "https://host/captures"'),
    (capture("s3://captures/churn", percent=0), "spec.monitoring.capture.percent: Invalid value: 0"),
    (capture("s3://captures/churn", percent=101), "spec.monitoring.capture.percent: Invalid value: 101"),
    (capture("s3://captures/churn", maxSeconds=4), "spec.monitoring.capture.maxSeconds: Invalid value: 4"),
    (capture("s3://captures/churn", format="CSV"), 'spec.monitoring.capture.format: Unsupported value: "CSV"'),
    (routing(allowPinning="yes"), 'spec.routing.allowPinning: Invalid value: "string"'),
    (variants({"weight": 101}), "spec.variants[0].weight: Invalid value: 101"),
    ({"shadows": [{"name": "b", **model("s3://m/k"), "percent": 101}]}, "spec.shadows[0].percent: Invalid value: 101"),
    (variants({"replicas": 0}), "spec.variants[0].replicas: Invalid value: 0"),
    (variants(*({} for _ in range(9))), "spec.variants: Too many: 9"),
    ({"replica": 3}, 'unknown field "spec.replica"'),
    (model("s3://m/k", url="x"), 'unknown field "spec.model.url"'),
    (steps({"weight": 5, "hold": 3}), 'unknown field "spec.rollout.steps[0].hold"'),
    ({"model": {}}, "spec.model.uri: Required value"),
    (steps({"holdSeconds": 3}), "spec.rollout.steps[0].weight: Required value"),
    ({"replicas": "three"}, 'spec.replicas: Invalid value: "string"'),
    ({"replicas": -1}, "spec.replicas: Invalid value: -1"),
    ({"replicas": 1001}, "spec.replicas: Invalid value: 1001"),
    (model("s3://m/k", version=3), 'spec.model.version: Invalid value: "integer"'),
    (model("s3://m/k", sha256="abc"), 'spec.model.sha256: Invalid value: "abc"'),
    (model("ftp://m/k"), 'spec.model.uri: Invalid value: "ftp://m/k"'),
    (model("file:///etc/passwd"), 'spec.model.uri: Invalid value: "file:///etc/passwd"'),
    (model("s3://m/" + "k" * 2048), "spec.model.uri: Too long"),
    (model("s3://m/k", credentialsSecretRef={"name": "../x"}), "spec.model.credentialsSecretRef.name: Invalid value"),
    (resources(limits={"cpu": "two"}), 'spec.server.resources.limits.cpu: Invalid value: "two"'),
    (resources(limits={"cpu": -1}), "spec.server.resources.limits.cpu: Invalid value: -1"),
    (resources(limits={"cpu": 0.5}), 'spec.server.resources.limits.cpu: Invalid value: "number"'),
    ({"server": {"batching": {"maxDelayMilliseconds": 5}}}, "spec.server.batching.maxSize: Required value"),
    ({"server": {"executionProviders": ["cpu"]}}, 'spec.server.executionProviders[0]: Invalid value: "cpu"'),
    (steps({"weight": 101}), "spec.rollout.steps[0].weight: Invalid value: 101"),
    (steps(*({"weight": 1} for _ in range(21))), "spec.rollout.steps: Too many: 21"),
    ({"rollout": {"strategy": "canary"}}, 'spec.rollout.strategy: Unsupported value: "canary": supported values'),
    (steps({"weight": -1}), "spec.rollout.steps[0].weight: Invalid value: -1"),
    (steps({"weight": 5}, candidateReplicas=0), "spec.rollout.candidateReplicas: Invalid value: 0"),
    ({"rollout": {"bakeSeconds": -1}}, "spec.rollout.bakeSeconds: Invalid value: -1"),
    ({"rollout": {"keepSeconds": -1}}, "spec.rollout.keepSeconds: Invalid value: -1"),
    (
        {"rollout": {"strategy": "BlueGreen", "preview": {"holdSeconds": -1}}},
        "spec.rollout.preview.holdSeconds: Invalid value: -1",
    ),
    (
        {"rollout": {"strategy": "BlueGreen", "preview": {"weight": 5}}},
        'unknown field "spec.rollout.preview.weight"',
    ),
    (gates(errorRates={}), 'unknown field "spec.rollout.gates.errorRates"'),
    (gates(minimumRequests=0), "spec.rollout.gates.minimumRequests: Invalid value: 0"),
    (gates(confidencePercent=100), "spec.rollout.gates.confidencePercent: Invalid value: 100"),
    (
        gates(insufficientData={"action": "Promote"}),
        'spec.rollout.gates.insufficientData.action: Unsupported value: "Promote": supported values',
    ),
    (
        gates(insufficientData={"afterSeconds": -1}),
        "spec.rollout.gates.insufficientData.afterSeconds: Invalid value: -1",
    ),
    (
        gates(http=[{"name": "a", "path": "/"}, {"name": "a", "path": "/b"}]),
        "spec.rollout.gates.http[1]: Duplicate value: ",
    ),
    (
        gates(prometheus=[{"name": "a", "query": "up", "min": 0}, {"name": "a", "query": "1", "min": 0}]),
        "spec.rollout.gates.prometheus[1]: Duplicate value: ",
    ),
    (
        gates(http=[{"name": "a", "path": "/", "timeoutSeconds": 31}]),
        "spec.rollout.gates.http[0].timeoutSeconds: Invalid",
    ),
    (gates(errorRate={"maxIncreasePercent": 0}), "spec.rollout.gates.errorRate.maxIncreasePercent: Invalid value: 0"),
    (gates(latency={"percentile": 100}), "spec.rollout.gates.latency.percentile: Invalid value: 100"),
    (gates(http=[{"path": "/"}]), "spec.rollout.gates.http[0].name: Required value"),
    (gates(http=[{"name": "A", "path": "/"}]), 'spec.rollout.gates.http[0].name: Invalid value: "A"'),
    (gates(http=[{"name": "a", "path": "x"}]), 'spec.rollout.gates.http[0].path: Invalid value: "x"'),
    (
        gates(http=[{"name": "a", "url": "ftp://judge/"}]),
        'spec.rollout.gates.http[0].url: Invalid value: "ftp://judge/"',
    ),
    (gates(prometheus=[{"name": "a", "max": 1}]), "spec.rollout.gates.prometheus[0].query: Required value"),
    ({"rollout": {"onFailure": "Stop"}}, 'spec.rollout.onFailure: Unsupported value: "Stop": supported values'),
    ({"routing": {"timeoutSeconds": 0}}, "spec.routing.timeoutSeconds: Invalid value: 0"),
    ({"revisionHistoryLimit": 0}, "spec.revisionHistoryLimit: Invalid value: 0"),
]
