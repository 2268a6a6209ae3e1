"""Names that the operator gives or reads: API group, objects, labels, annotations, ports, environment.

Every such string stands here once; a literal of these kinds anywhere else is a mistake. No logic beyond joining names.
"""

GROUP = "modelendpoint.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "ModelEndpoint"
PLURAL = "modelendpoints"
SINGULAR = "modelendpoint"
SHORT_NAMES = ("mep",)
CATEGORIES = ("all", "ml")
BATCH_KIND = "BatchPrediction"
BATCH_PLURAL = "batchpredictions"
BATCH_SINGULAR = "batchprediction"
BATCH_SHORT_NAMES = ("bp",)

FIELD_MANAGER = "modelendpoint-operator"
"""Field manager of every server-side apply; one name, so that a field we stop sending goes away."""

# Labels on every child.
LABEL_ENDPOINT = f"{GROUP}/endpoint"
LABEL_REVISION = f"{GROUP}/revision"
LABEL_ARM = f"{GROUP}/arm"
"""On the objects and pods of a variant's or shadow's revisions: its name."""
LABEL_BATCH = f"{GROUP}/batch"
"""On the Jobs and pods of a BatchPrediction: its name."""
LABEL_BATCH_STAGE = f"{GROUP}/stage"
LABEL_BATCH_ATTEMPT = f"{GROUP}/attempt"
LABEL_GATE = f"{GROUP}/gate"
"""On a BatchPrediction that a replay gate asked for: the gate's name."""
LABEL_SCHEDULE = f"{GROUP}/schedule"
"""On a run of a BatchPrediction with a schedule: the name of that BatchPrediction."""
LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
APP_NAME = "modelendpoint"
COMPONENT_MODEL_SERVER = "model-server"
COMPONENT_ROUTER = "router"
COMPONENT_BATCH = "batch"
COMPONENT_MONITOR = "monitor"

LABEL_AZURE_IDENTITY = "azure.workload.identity/use"
"""On pods with a ServiceAccount of their own: Azure's webhook gives an identity to those that have it only."""

# Annotations that people set on a ModelEndpoint; the value is always the revision that is meant. On a BatchPrediction
# `retry` starts a failed run again, once for each value.
ANNOTATION_PROMOTE = f"{GROUP}/promote"
ANNOTATION_ABORT = f"{GROUP}/abort"
ANNOTATION_RETRY = f"{GROUP}/retry"
ANNOTATION_PROMOTE_FULL = f"{GROUP}/promote-full"
ANNOTATION_PAUSE = f"{GROUP}/pause"
ANNOTATION_RESUME = f"{GROUP}/resume"
ANNOTATION_ROLLBACK_TO = f"{GROUP}/rollback-to"

# Annotations that the operator sets on its own objects.
ANNOTATION_APPLIED_HASH = f"{GROUP}/applied-hash"
ANNOTATION_SHA256 = f"{GROUP}/sha256"
"""On a ControllerRevision: the digest of its model. Its data can't be changed, and the digest is learned later."""
ANNOTATION_TEMPLATE = f"{GROUP}/template"
"""On a revision's Deployment: what the revision is made from, should somebody delete its ControllerRevision."""
ANNOTATION_ROUTER_CONFIG = f"{GROUP}/router-config"
"""On router pods: changing it makes the kubelet refresh the mounted ConfigMap at once."""
ANNOTATION_MODEL_WANTED = f"{GROUP}/model-wanted"
"""On server pods that lack their model: changing it makes the kubelet refresh mounted ConfigMaps and Secrets at once."""
ANNOTATION_MONITORING = f"{GROUP}/monitoring"
"""On server pods: changing it makes the kubelet refresh what they are told of monitoring at once."""
ANNOTATION_ROUTER_BOOTSTRAP = f"{GROUP}/router-bootstrap"
"""On the router's pod template: hash of the one file that Envoy reads only at its start."""

ANNOTATION_SCHEDULED_AT = f"{GROUP}/scheduled-at"
"""On a run of a schedule: the time that it stands for."""

ON_DEMAND_KINDS = ("HorizontalPodAutoscaler", "HTTPRoute", "Ingress")
"""Kinds of children that an endpoint has only while its spec asks for them."""

# Ports.
SERVICE_PORT = 80
SERVICE_TLS_PORT = 443
SERVER_PORT = 8080
MANAGEMENT_PORT = 8081
ROUTER_PORT = 8080
ROUTER_TLS_PORT = 8443
ROUTER_STATUS_PORT = 9901
ROUTER_ADMIN_PORT = 9902
"""Envoy's own admin interface; bound to loopback, never reachable from outside the pod."""
OPERATOR_PORT = 8080
MONITOR_PORT = 8082
"""Where a monitor takes samples."""

# Paths of the model server's management port.
PATH_READY = "/readyz"
PATH_LIVE = "/livez"
PATH_REPORT = "/report"

# Where the server finds its files.
DIGEST_DIR = "/etc/modelendpoint/revision"
DIGEST_KEY = "sha256"
CREDENTIALS_DIR = "/etc/modelendpoint/credentials"
MONITORING_DIR = "/etc/modelendpoint/monitoring"
MONITORING_KEY = "config.json"
MODEL_DIR = "/models"
PVC_DIR = "/mnt/pvc"
CONFIGMAP_DIR = "/mnt/configmap"

# Where a batch worker finds its files, besides the server's.
INPUT_CREDENTIALS_DIR = "/etc/modelendpoint/input-credentials"
OUTPUT_CREDENTIALS_DIR = "/etc/modelendpoint/output-credentials"
COMPARE_CREDENTIALS_DIR = "/etc/modelendpoint/compare-credentials"

# Where a monitor finds its files, besides the server's.
CAPTURE_CREDENTIALS_DIR = "/etc/modelendpoint/capture-credentials"
REFERENCE_CREDENTIALS_DIR = "/etc/modelendpoint/reference-credentials"
HASH_KEY_DIR = "/etc/modelendpoint/hash-key"
HASH_KEY = "key"

# Headers of answers, and of requests that ask for a certain variant or revision.
HEADER_VARIANT = "x-model-variant"
HEADER_REVISION = "x-model-revision"
HEADER_SHA256 = "x-model-sha256"

# Environment of the server container.
ENV_NAME = "MODELENDPOINT_NAME"
ENV_NAMESPACE = "MODELENDPOINT_NAMESPACE"
ENV_REVISION = "MODELENDPOINT_REVISION"
ENV_SERVICE_ACCOUNT = "MODELENDPOINT_SERVICE_ACCOUNT"
ENV_MODEL_URI = "MODELENDPOINT_MODEL_URI"
ENV_MODEL_VERSION = "MODELENDPOINT_MODEL_VERSION"
ENV_MODEL_SHA256 = "MODELENDPOINT_MODEL_SHA256"
ENV_PORT = "MODELENDPOINT_PORT"
ENV_MANAGEMENT_PORT = "MODELENDPOINT_MANAGEMENT_PORT"
ENV_MODEL_DIR = "MODELENDPOINT_MODEL_DIR"
ENV_GOLDEN_EXAMPLES = "MODELENDPOINT_GOLDEN_EXAMPLES_URI"
ENV_GOLDEN_ABSOLUTE = "MODELENDPOINT_GOLDEN_ABSOLUTE_TOLERANCE"
ENV_GOLDEN_RELATIVE = "MODELENDPOINT_GOLDEN_RELATIVE_TOLERANCE"
ENV_EXECUTION_PROVIDERS = "MODELENDPOINT_EXECUTION_PROVIDERS"
ENV_BATCH_SIZE = "MODELENDPOINT_BATCH_MAX_SIZE"
ENV_BATCH_DELAY = "MODELENDPOINT_BATCH_MAX_DELAY_MILLISECONDS"
ENV_MAX_BODY = "MODELENDPOINT_MAX_BODY_BYTES"
ENV_MAX_ROWS = "MODELENDPOINT_MAX_ROWS"
ENV_MAX_CONCURRENCY = "MODELENDPOINT_MAX_CONCURRENCY"
ENV_MAX_WAITING = "MODELENDPOINT_MAX_WAITING"
ENV_REQUEST_TIMEOUT = "MODELENDPOINT_REQUEST_TIMEOUT_SECONDS"

# Environment of a batch worker, besides the server's.
ENV_BATCH = "MODELENDPOINT_BATCH"
ENV_BATCH_WORKERS = "MODELENDPOINT_BATCH_WORKERS"

# Environment of a monitor, besides the server's.
ENV_MONITOR = "MODELENDPOINT_MONITOR"

# Files of the router's ConfigMap.
ROUTER_CONFIG_DIR = "/etc/envoy"
BOOTSTRAP_FILE = "bootstrap.json"
LISTENERS_FILE = "lds.json"
CLUSTERS_FILE = "cds.json"
ROUTES_FILE = "rds.json"
SECRETS_FILE = "sds.json"

# Where a router finds what it was given of Secrets. The files' names are their keys.
KEYS_DIR = "/etc/modelendpoint/keys"
KEYS_KEY = "keys"
JWKS_DIR = "/etc/modelendpoint/jwks"
JWKS_KEY = "jwks.json"
TLS_DIR = "/etc/modelendpoint/tls"
TLS_CERTIFICATE_KEY = "tls.crt"
TLS_PRIVATE_KEY = "tls.key"

HEADER_ROUTER_TROUBLE = "x-modelendpoint-trouble"
"""On what a router tells of itself: which of those files it can't use."""
ROUTE_CONFIG_NAME = "endpoint"
ROUTE_METADATA = GROUP
"""Where the routes say which shares they were made from."""
STAT_PREFIX = "endpoint"

HOLD = "hold"
"""Listener inside the router, and its cluster, that says "ask again" while a revision has no pod."""
HELD_SUFFIX = "-held"
"""End of the name of the cluster to which requests go that may have to be held."""
HEADER_HOLD = "x-modelendpoint-hold"
"""On what that listener answers; no client ever gets it."""


CLUSTER_DOMAIN = "cluster.local"
"""DNS domain of nearly every cluster."""


def service_name(endpoint: str) -> str:
    """Name the Service that applications call."""
    return endpoint


def router_name(endpoint: str) -> str:
    """Name the router's Deployment and ConfigMap."""
    return f"{endpoint}-router"


def monitor_name(endpoint: str) -> str:
    """Name the monitor's Deployment, its Service, and the ConfigMap that tells servers of it."""
    return f"{endpoint}-monitor"


def revision_name(endpoint: str, revision: int) -> str:
    """Name everything that belongs to one revision: ControllerRevision, Deployment, Service, ConfigMap, Envoy cluster."""
    return f"{endpoint}-r{revision}"


def held_name(endpoint: str, revision: int) -> str:
    """Name the Envoy cluster that holds requests until the revision has a pod."""
    return revision_name(endpoint, revision) + HELD_SUFFIX


def revision_host(endpoint: str, revision: int, *, namespace: str, domain: str) -> str:
    """Name the DNS host whose addresses are the ready pods of one revision.

    Absolute: by a node's search domain, a revision without ready pods could become a host of somebody else.
    """
    return f"{revision_name(endpoint, revision)}.{namespace}.svc.{domain}."


def revision_identity(endpoint: str, revision: int, *, namespace: str) -> str:
    """Name what the pods of one revision call themselves, so that another pod at the same address is told apart."""
    return f"{namespace}/{revision_name(endpoint, revision)}"


def revision_url(endpoint: str, revision: int, *, namespace: str, domain: str) -> str:
    """Name the URL under which a revision's ready pods are reached past the router, from inside the cluster."""
    return f"http://{revision_name(endpoint, revision)}.{namespace}.svc.{domain}:{SERVER_PORT}"


def endpoint_url(endpoint: str, *, namespace: str, tls: bool = False) -> str:
    """Name the URL under which applications inside the cluster reach the endpoint."""
    return f"{'https' if tls else 'http'}://{service_name(endpoint)}.{namespace}.svc"


def batch_job_name(batch: str, stage: str, attempt: int) -> str:
    """Name the Job of one stage of a run. No two BatchPredictions can share one: a Job's name ends in its stage."""
    return f"{batch}-{stage}" if attempt == 1 else f"{batch}-{stage}-{attempt}"


def batch_run_id(batch: str, uid: str) -> str:
    """Name a run in the object store: another object of the same name is another run."""
    return f"{batch}-{uid[:8]}"


def replay_name(endpoint: str, revision: int, gate: str, *, digest: str) -> str:
    """Name the BatchPrediction that replays recorded rows for a gate: as long as those of a batch may be, at most."""
    return f"{f'{endpoint}-r{revision}-{gate}'[:41]}-{digest[:8]}"


def scheduled_run_name(batch: str, minute: int) -> str:
    """Name the run for a minute, counted from 1970 as CronJobs do; the same time gives the same name."""
    return f"{batch}-{minute}"
