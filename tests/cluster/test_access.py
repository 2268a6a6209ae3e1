"""Who may call, on a real cluster: keys, tokens and certificates rotate by a new Secret alone, and nobody else passes."""

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_operator import names
from support.callers import Caller
from support.certificates import Certificate
from support.cluster import Cluster
from support.endpoints import Endpoint
from support.tokens import AUDIENCE, ISSUER, SigningKey, key_set

pytestmark = pytest.mark.usefixtures("operator")

REFUSALS = 2000
NEW_CONNECTIONS = 20
"""Enough to meet both threads of each router."""


class Guarded(Endpoint):
    """An endpoint whose routers mount what its callers are judged by."""

    def put(self, kind: str, name: str, files: Mapping[str, str]) -> None:
        """Write a Secret or ConfigMap."""
        data = {"stringData" if kind == "Secret" else "data": dict(files)}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **data}, namespace=self.namespace
        )

    def put_keys(self, *lines: str) -> None:
        self.put("Secret", "churn-keys", {names.KEYS_KEY: "\n".join(lines)})

    def wait_for_routers(self, fact: Callable[[], bool]) -> None:
        """Wait for something that routers do once the kubelet has brought them what was written."""

        def holds() -> bool:
            # Otherwise the kubelet looks about once a minute.
            labels = f"{names.LABEL_ENDPOINT}={self.name},{names.LABEL_COMPONENT}={names.COMPONENT_ROUTER}"
            where = ("-n", self.namespace, "-l", labels)
            self.cluster.kubectl("annotate", "pod", *where, "--overwrite", f"looked-at={time.monotonic_ns()}")
            return fact()

        self.wait_until(holds)

    def routers(self) -> dict[str, int]:
        """Name the router pods, and how often each was started again."""
        pods = self.cluster.get("pod", namespace=self.namespace, selector=f"{names.LABEL_COMPONENT}=router")
        return {
            pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"]
            for pod in pods
            if pod["metadata"]["labels"][names.LABEL_ENDPOINT] == self.name
        }


def key_line(key: str, rest: str = "shop") -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()}  {rest}"


def test_keys_and_certificates_rotate_and_nobody_passes_without(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    endpoint = Guarded(cluster, namespace)
    endpoint.create_models()
    caller = Caller(cluster, namespace, endpoint="churn", name="caller")
    first, second = (Certificate(tmp_path, name, hosts=[caller.host]) for name in ("first", "second"))
    both = first.certificate + second.certificate
    old, new, ended = ({"x-api-key": secrets.token_hex(24)} for _ in range(3))
    known = key_line(old["x-api-key"]), key_line(ended["x-api-key"], "shop  2020-01-31T00:00:00Z")
    endpoint.put_keys(*known)
    auth = {"apiKeys": {"secretRef": {"name": "churn-keys"}}}
    endpoint.apply("1", routing={"auth": auth, "tls": {"secretRef": {"name": "churn-tls"}}})
    caller.start()
    assert "Secret churn-tls" in endpoint.wait_for_reason("CertificateNotReady")["message"]

    endpoint.put("Secret", "churn-tls", first.files)
    endpoint.wait_for_routers(lambda: endpoint.condition("Ready")["status"] == "True")
    assert endpoint.status["url"] == f"https://{caller.host}"
    assert caller.count(old, requests=20, ca=first.certificate) == {"200": 20}
    wrong: list[dict[str, str]] = [
        {},
        {"x-api-key": ""},
        ended,
        {"x-api-key": secrets.token_hex(24)},
        {"x-api-key": hashlib.sha256(old["x-api-key"].encode()).hexdigest()},
        {"authorization": f"Bearer {old['x-api-key']}"},
    ]
    assert caller.count(*wrong, requests=REFUSALS, ca=both) == {"401": REFUSALS}
    assert caller.count(old, requests=20) == {"403": 20}, "over plain HTTP"

    before = endpoint.routers()

    def answers(headers: dict[str, str], status: str, ca: str) -> bool:
        counts = caller.count(headers, requests=NEW_CONNECTIONS, ca=ca, new_connections=True)
        return bool(counts == {status: NEW_CONNECTIONS})

    with caller.keeps_asking(old, ca=both) as with_old:
        endpoint.put_keys(*known, key_line(new["x-api-key"]))
        endpoint.put("Secret", "churn-tls", second.files)
        endpoint.wait_for_routers(lambda: answers(new, "200", second.certificate))
    with caller.keeps_asking(new, ca=both) as with_new:
        endpoint.put_keys(key_line(new["x-api-key"]))
        endpoint.wait_for_routers(lambda: answers(old, "401", second.certificate))

    assert with_old.keys() == with_new.keys() == {"200"}
    assert with_old.total() > 20 and with_new.total() > 20
    assert endpoint.routers() == before and set(before.values()) == {0}


def test_key_sets_rotate_and_nobody_passes_without_a_token_or_too_often(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    old, new, stranger = (SigningKey(tmp_path, name) for name in ("old", "new", "stranger"))
    endpoint = Guarded(cluster, namespace)
    endpoint.create_models()
    endpoint.put("ConfigMap", "login-keys", {names.JWKS_KEY: key_set(old)})
    jwt = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwksConfigMapRef": {"name": "login-keys"}}
    endpoint.apply("1", routing={"replicas": 1, "auth": {"jwt": jwt}})
    caller = Caller(cluster, namespace, endpoint="churn", name="caller").start()
    endpoint.wait()

    def bearer(key: SigningKey, **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {key.token(**claims)}"}

    def answers(key: SigningKey, status: str) -> bool:
        counts = caller.count(bearer(key), requests=NEW_CONNECTIONS, new_connections=True)
        return bool(counts == {status: NEW_CONNECTIONS})

    assert caller.count(bearer(old), requests=20) == {"200": 20}
    wrong = [
        {},
        bearer(stranger),
        bearer(old, exp=int(time.time()) - 61),
        bearer(old, exp=None),
        bearer(old, aud="other"),
        bearer(old, iss="https://evil.example"),
        {"authorization": bearer(old)["authorization"][:-4]},
    ]
    refused = caller.count(*wrong, requests=REFUSALS)
    assert refused.total() == REFUSALS and refused.keys() == {"401", "403"}

    with caller.keeps_asking(bearer(old)) as with_old:
        endpoint.put("ConfigMap", "login-keys", {names.JWKS_KEY: key_set(old, new)})
        endpoint.wait_for_routers(lambda: answers(new, "200"))
    with caller.keeps_asking(bearer(new)) as with_new:
        endpoint.put("ConfigMap", "login-keys", {names.JWKS_KEY: key_set(new)})
        endpoint.wait_for_routers(lambda: answers(old, "401"))
    assert with_old.keys() == with_new.keys() == {"200"}

    routers = endpoint.routers()
    endpoint.apply(
        routing={**endpoint.spec["routing"], "rateLimit": {"requests": 50, "perSeconds": 3600, "by": "Client"}}
    )
    endpoint.wait()
    assert caller.count(bearer(new), requests=100) == {"200": 50, "429": 50}
    assert caller.count(bearer(new, sub="partner"), requests=20) == {"200": 20}
    assert endpoint.routers() == routers
