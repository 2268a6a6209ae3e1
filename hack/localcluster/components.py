"""The parts of a node: their arguments, configuration files and order. Pure; ``node`` runs them.

All paths are those that the node sees. It has ``/var/lib``, ``/var/log`` and ``/run`` of its own, so the parts' default
folders are right and nothing here depends on where the cluster is kept.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from localcluster.certificates import Identity

HOME = "/var/lib/localcluster"
BIN = f"{HOME}/bin"
PKI = f"{HOME}/pki"
KUBECONFIGS = f"{HOME}/kubeconfigs"
CONFIG = f"{HOME}/config"
PAUSE_ARCHIVE = f"{HOME}/pause.tar"

NODE_ADDRESS = "198.18.0.2"
"""The node's address, the same in every node's own network. From a range that no real network uses (RFC 2544)."""
API_PORT = 6443
API_SERVER = f"https://{NODE_ADDRESS}:{API_PORT}"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
PODS = "10.244.0.0/24"
DOMAIN = "cluster.local"
PAUSE_IMAGE = "localhost/pause:1"
CONTAINERD = "/run/containerd/containerd.sock"

KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What kubelet sets where it finds something else. No namespace has these for itself: they are the whole machine's. So
files with what it wants to see are laid over them in the node, and the machine's stay as they are."""


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """What was chosen when the cluster was made."""

    name: str
    port: int
    """The port of this machine's loopback that leads to the API server (``localcluster.door``)."""
    snapshotter: str = "overlayfs"

    @property
    def cgroup(self) -> str:
        """The control group that all pods are in. No other node of this machine has the port."""
        return f"modelendpoint-{self.port}"

    @property
    def server(self) -> str:
        """The API server as seen from this machine."""
        return f"https://127.0.0.1:{self.port}"

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "NodeSettings":
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True, kw_only=True)
class Part:
    """A process of the node. It is started when all parts in ``after`` are ready."""

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    probe: str = ""
    """A URL that answers 200, or ``unix:`` and a socket that takes connections. Without one it is a task: it is done
    when it has ended with code 0."""


def build_identities(node: NodeSettings) -> tuple[Identity, ...]:
    """Name everyone who has a certificate."""
    api_names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}"]
    api_addresses = ["127.0.0.1", API_SERVICE, NODE_ADDRESS]
    return (
        Identity(
            file="apiserver",
            user="kube-apiserver",
            alternative_names=(*(f"DNS:{name}" for name in api_names), *(f"IP:{ip}" for ip in api_addresses)),
        ),
        Identity(file="kubelet-client", user="kube-apiserver-kubelet-client", group="system:masters"),
        Identity(file="admin", user="admin", group="system:masters"),
        Identity(file="controller-manager", user="system:kube-controller-manager"),
        Identity(file="scheduler", user="system:kube-scheduler"),
        Identity(file="kubelet", user=f"system:node:{node.name}", group="system:nodes"),
        Identity(file="proxy", user="system:kube-proxy"),
        Identity(file="coredns", user="coredns"),
    )


CLIENTS = ("admin", "controller-manager", "scheduler", "kubelet", "proxy", "coredns")
"""Those identities that get a kubeconfig."""


def build_parts(node: NodeSettings) -> tuple[Part, ...]:
    """List all parts of the node."""
    return (
        _etcd(),
        _apiserver(node),
        _controller_manager(),
        _scheduler(),
        Part(
            name="containerd",
            command=("containerd", "--config", f"{CONFIG}/containerd.toml"),
            probe=f"unix:{CONTAINERD}",
        ),
        Part(
            name="load-pause",
            command=("ctr", "-n", "k8s.io", "images", "import", PAUSE_ARCHIVE),
            after=("containerd",),
        ),
        Part(
            name="kubelet",
            command=(
                f"{BIN}/kubelet",
                f"--config={CONFIG}/kubelet.json",
                f"--kubeconfig={KUBECONFIGS}/kubelet",
                f"--hostname-override={node.name}",
                f"--node-ip={NODE_ADDRESS}",
            ),
            after=("apiserver", "load-pause"),
            probe="http://127.0.0.1:10248/healthz",
        ),
        Part(
            name="kube-proxy",
            command=(f"{BIN}/kube-proxy", f"--config={CONFIG}/kube-proxy.json"),
            after=("apiserver",),
            probe="http://127.0.0.1:10256/livez",
        ),
        Part(
            name="apply-base",
            command=(
                *(f"{BIN}/kubectl", f"--kubeconfig={KUBECONFIGS}/admin", "apply", "--server-side"),
                "--cache-dir=/run/kubectl",
                *("--force-conflicts", f"--filename={CONFIG}/base.json"),
            ),
            after=("apiserver",),
        ),
        Part(
            name="coredns",
            command=(f"{BIN}/coredns", "-conf", f"{CONFIG}/Corefile"),
            after=("apply-base",),
            probe="http://127.0.0.1:8181/ready",
        ),
    )


def _etcd() -> Part:
    client = "http://127.0.0.1:2379"
    return Part(
        name="etcd",
        command=(
            f"{BIN}/etcd",
            "--data-dir=/var/lib/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--listen-metrics-urls=http://127.0.0.1:2381",
            "--unsafe-no-fsync",  # a machine that loses power loses this cluster, which is as good as new in seconds
        ),
        probe="http://127.0.0.1:2381/health",
    )


def _apiserver(node: NodeSettings) -> Part:
    return Part(
        name="apiserver",
        command=(
            f"{BIN}/kube-apiserver",
            f"--advertise-address={NODE_ADDRESS}",
            f"--secure-port={API_PORT}",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--client-ca-file={PKI}/ca.crt",
            f"--tls-cert-file={PKI}/apiserver.crt",
            f"--tls-private-key-file={PKI}/apiserver.key",
            f"--service-account-key-file={PKI}/sa.pub",
            f"--service-account-signing-key-file={PKI}/sa.key",
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={PKI}/kubelet-client.crt",
            f"--kubelet-client-key={PKI}/kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",  # the node's name is in no DNS
        ),
        after=("etcd",),
        # 200 only when every check is ok, the first roles and bindings among them: the controller manager needs them.
        probe=f"https://127.0.0.1:{API_PORT}/readyz",
    )


def _controller_manager() -> Part:
    return Part(
        name="controller-manager",
        command=(
            f"{BIN}/kube-controller-manager",
            *_own_kubeconfig("controller-manager"),
            f"--service-account-private-key-file={PKI}/sa.key",
            f"--root-ca-file={PKI}/ca.crt",
            f"--cluster-signing-cert-file={PKI}/ca.crt",
            f"--cluster-signing-key-file={PKI}/ca.key",
            "--use-service-account-credentials",
            "--leader-elect=false",
        ),
        after=("apiserver",),
        probe="https://127.0.0.1:10257/healthz",
    )


def _scheduler() -> Part:
    return Part(
        name="scheduler",
        command=(f"{BIN}/kube-scheduler", *_own_kubeconfig("scheduler"), "--leader-elect=false"),
        after=("apiserver",),
        probe="https://127.0.0.1:10259/healthz",
    )


def _own_kubeconfig(name: str) -> tuple[str, ...]:
    path = f"{KUBECONFIGS}/{name}"
    return (f"--kubeconfig={path}", f"--authentication-kubeconfig={path}", f"--authorization-kubeconfig={path}")


def build_files(node: NodeSettings) -> dict[str, str]:
    """Write all configuration files: path below ``HOME`` → text."""
    documents = {
        "kubelet.json": _kubelet(node),
        "kube-proxy.json": _kube_proxy(node),
        "base.json": _base_objects(node),
        "cni/10-pods.conflist": _pod_network(),
    }
    texts = {"containerd.toml": _containerd(node), "Corefile": _corefile(node), "resolv.conf": ""}
    return {
        **{f"config/{name}": json.dumps(document, indent=1) for name, document in documents.items()},
        **{f"config/{name}": text for name, text in texts.items()},
        **{f"kernel/{name}": value for name, value in KERNEL_SETTINGS.items()},
    }


def _kubelet(node: NodeSettings) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "resolvConf": f"{CONFIG}/resolv.conf",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        # The disk is this machine's: how full it is is not for the node to judge, and loaded images must stay.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def _kube_proxy(node: NodeSettings) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": f"{KUBECONFIGS}/proxy"},
        "clusterCIDR": PODS,
        "hostnameOverride": node.name,
        "healthzBindAddress": "127.0.0.1:10256",
        "conntrack": {"maxPerCore": 0},  # the table's size is the machine's, not ours to set
    }


def _pod_network() -> dict[str, Any]:
    """Join every pod to the node by a pair of its own.

    All traffic is routed, none is switched: so a Service's translation is undone on the way back also when both pods
    are on this node, whether or not the kernel module ``br_netfilter`` is there.
    """
    addresses = {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]}
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _containerd(node: NodeSettings) -> str:
    return f"""\
version = 2
[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true  # root may lack CAP_SYS_RESOURCE
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{node.snapshotter}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{CONFIG}/cni"
"""


def _corefile(node: NodeSettings) -> str:
    return f"""\
.:53 {{
    bind {NODE_ADDRESS}
    ready 127.0.0.1:8181
    errors
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {KUBECONFIGS}/coredns
        ttl 5
    }}
}}
"""


def _base_objects(node: NodeSettings) -> dict[str, Any]:
    """Make the cluster's DNS, which is a process of the node, reachable as the Service that every cluster has."""
    dns: dict[str, Any] = {"name": "kube-dns", "namespace": "kube-system"}
    ports = [{"name": f"dns-{protocol.lower()}", "protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    readable = [
        {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns"}
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": dns,
            "spec": {"clusterIP": DNS_SERVICE, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**dns, "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_ADDRESS]}],
            "ports": ports,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "coredns"},
            "rules": readable,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "coredns"},
            "roleRef": role,
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "coredns"}],
        },
    ]
    return {"apiVersion": "v1", "kind": "List", "items": objects}
