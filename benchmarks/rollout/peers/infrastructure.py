"""What the other tools need around them: Prometheus, and for weights by request an ingress (Contour with Envoy).

All of it may do anything in the cluster: it is made for this and removed afterwards.
"""

from typing import Any

from tools import CONTOUR, PROMETHEUS

SYSTEM = "peers-system"
SCRAPE_SECONDS = 5
PROMETHEUS_ADDRESS = f"http://prometheus.{SYSTEM}.svc:9090"
INGRESS_HOST = f"envoy.{SYSTEM}.svc"
ROUTER_IMAGE = "ghcr.io/modelendpoint/router:0.1.0"

SCRAPING = f"""\
global: {{scrape_interval: {SCRAPE_SECONDS}s}}
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs: [{{role: pod}}]
    relabel_configs:
      - {{source_labels: [__meta_kubernetes_pod_annotation_scrape], regex: "[0-9]+/.*", action: keep}}
      - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_scrape]
        regex: "(.*);([0-9]+)(/.*)"
        target_label: __address__
        replacement: $1:$2
      - source_labels: [__meta_kubernetes_pod_annotation_scrape]
        regex: "[0-9]+(/.*)"
        target_label: __metrics_path__
      # A pod with two ports is two targets, of which one is enough.
      - {{source_labels: [__meta_kubernetes_pod_container_port_name], regex: "http|", action: keep}}
      - {{source_labels: [__meta_kubernetes_pod_label_rollouts_pod_template_hash], target_label: hash}}
"""


def all_rights(name: str) -> list[dict[str, Any]]:
    """Build a ServiceAccount that may do anything."""
    subject = {"kind": "ServiceAccount", "name": name, "namespace": SYSTEM}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": SYSTEM}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"peers-{name}"},
            "roleRef": role,
            "subjects": [subject],
        },
    ]


def deployment(name: str, container: dict[str, Any], **pod: Any) -> dict[str, Any]:
    """Build a Deployment of one pod."""
    labels = {"app": name}
    annotations = pod.pop("annotations", {})
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"serviceAccountName": name, "containers": [{"name": name, **container}], **pod},
            },
        },
    }


def service(name: str, **ports: int) -> dict[str, Any]:
    """Build a Service; ``http=8080`` is port 80 to 8080, any other name is the same port on both sides."""
    listed = [{"name": key, "port": 80 if key == "http" else port, "targetPort": port} for key, port in ports.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {"selector": {"app": name}, "ports": listed},
    }


def prometheus() -> list[dict[str, Any]]:
    """Build Prometheus, which scrapes every pod whose annotation ``scrape`` says where: ``8081/metrics``."""
    container = {
        "image": PROMETHEUS.image,
        "args": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/prometheus"}, {"name": "data", "mountPath": "/data"}],
    }
    volumes = [{"name": "config", "configMap": {"name": "prometheus"}}, {"name": "data", "emptyDir": {}}]
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "prometheus", "namespace": SYSTEM},
        "data": {"prometheus.yml": SCRAPING},
    }
    return [
        *all_rights("prometheus"),
        config,
        deployment("prometheus", container, volumes=volumes, securityContext={"fsGroup": 65532}),
        service("prometheus", api=9090),
    ]


def contour() -> list[dict[str, Any]]:
    """Build Contour and one Envoy, which talk without TLS. The CRDs come from Contour's own files."""
    control = {
        "image": CONTOUR.image,
        "args": ["serve", "--incluster", "--insecure", "--xds-address=0.0.0.0", "--xds-port=8001"],
        "env": [
            {"name": "CONTOUR_NAMESPACE", "value": SYSTEM},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
    }
    bootstrap = {
        "name": "bootstrap",
        "image": CONTOUR.image,
        "args": [
            "bootstrap",
            "/config/envoy.json",
            "--xds-address=contour",
            "--xds-port=8001",
            "--resources-dir=/config/resources",
        ],
        "env": [{"name": "CONTOUR_NAMESPACE", "value": SYSTEM}],
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }
    proxy = {
        "image": ROUTER_IMAGE,
        "command": ["envoy"],
        "args": ["-c", "/config/envoy.json", "--service-cluster", "peers", "--service-node", "envoy"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8002}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "admin", "mountPath": "/admin"}],
    }
    volumes = [{"name": "config", "emptyDir": {}}, {"name": "admin", "emptyDir": {}}]
    return [
        *all_rights("contour"),
        *all_rights("envoy"),
        deployment("contour", control),
        service("contour", xds=8001),
        deployment(
            "envoy",
            proxy,
            initContainers=[bootstrap],
            volumes=volumes,
            securityContext={"fsGroup": 65532, "runAsUser": 65532},
            annotations={"scrape": "8002/stats/prometheus"},
        ),
        service("envoy", http=8080),
    ]
