"""A caller inside a test cluster: a pod that sends requests with any headers, over HTTP or HTTPS, and counts the statuses."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from support.cluster import Cluster
from support.load_run import OPERATOR_IMAGE

CALLING = """
import collections, http.client, json, ssl, sys, threading, time

plan = json.loads(sys.stdin.readline())
context = ssl.create_default_context(cadata=plan["ca"]) if plan["ca"] else None
ended, counts = threading.Event(), collections.Counter()

def connect():
    if context:
        return http.client.HTTPSConnection(plan["host"], 443, timeout=10, context=context)
    return http.client.HTTPConnection(plan["host"], 80, timeout=10)

def ask(connection, headers):
    try:
        connection.request("POST", "/predict", plan["body"], {"content-type": "text/csv", **headers})
        response = connection.getresponse()
        response.read()
        counts[str(response.status)] += 1
    except (OSError, http.client.HTTPException) as error:
        counts[type(error).__name__] += 1
        connection.close()

def wait_for_end():
    sys.stdin.read()
    ended.set()

if plan["count"] is None:
    threading.Thread(target=wait_for_end, daemon=True).start()
kept, sent = connect(), 0
while not ended.is_set() and sent != plan["count"]:
    headers = plan["headers"][sent % len(plan["headers"])]
    if sent % plan["new_connection_every"] == 0:
        connection = connect()
        ask(connection, headers)
        connection.close()
    else:
        ask(kept, headers)
    sent += 1
    if plan["count"] is None:
        if sent == 20:
            print("asking", flush=True)
        time.sleep(0.02)
print(json.dumps(counts))
"""

Headers = Mapping[str, str]


class Caller:
    """A pod that calls one endpoint of its namespace."""

    def __init__(self, cluster: Cluster, namespace: str, *, endpoint: str, name: str) -> None:
        self.host = f"{endpoint}.{namespace}.svc"
        self._cluster, self._namespace, self._name = cluster, namespace, name

    def start(self) -> "Caller":
        """Start the pod and wait until it can be used."""
        container = {
            "name": "caller",
            "image": OPERATOR_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", "import time; time.sleep(600)"],
        }
        spec = {"containers": [container], "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
        metadata = {"name": self._name}
        self._cluster.apply(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, namespace=self._namespace
        )
        where = ("-n", self._namespace, f"pod/{self._name}")
        self._cluster.kubectl("wait", *where, "--for=condition=Ready", "--timeout=60s")
        return self

    def count(self, *headers: Headers, requests: int, ca: str | None = None, new_connections: bool = False) -> Any:
        """Send so many requests with these headers in turn; return how they were answered."""
        plan = self._plan(headers, ca=ca, count=requests, every=1 if new_connections else requests)
        return Counter(json.loads(self._cluster.kubectl(*self._command(), stdin=plan)))

    @contextmanager
    def keeps_asking(self, headers: Headers, *, ca: str | None = None) -> Iterator[Counter[str]]:
        """Send on and on while the block runs, every other request on a new connection; count when it ends.

        The block begins when twenty have been answered: what it changes is changed under requests.
        """
        counts: Counter[str] = Counter()
        process = subprocess.Popen(
            ["kubectl", *self._command()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._cluster.environment,
            text=True,
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(self._plan([headers], ca=ca, count=None, every=2))
            process.stdin.flush()
            process.stdout.readline()
            yield counts
        finally:
            counts.update(json.loads(process.communicate(timeout=30)[0]))

    def _command(self) -> Sequence[str]:
        return ("exec", "-i", "-n", self._namespace, self._name, "--", "python3", "-c", CALLING)

    def _plan(self, headers: Sequence[Headers], *, ca: str | None, count: int | None, every: int) -> str:
        plan = {"host": self.host, "ca": ca, "headers": headers, "count": count, "body": "1,2,3\n"}
        return json.dumps({**plan, "new_connection_every": every}) + "\n"
