"""The real cluster that cluster tests run on: kubectl, helm, a port forward. Does not care which kind it is.

Brought up by ``hack/cluster``, which says where its kubeconfig is; the user's own kubeconfig is never looked at.
"""

import json
import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiException, CustomObjectsApi
from kubernetes.config import new_client_from_config

REPOSITORY = Path(__file__).parents[2]
HACK_CLUSTER = REPOSITORY / "hack" / "cluster"
FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")


class CommandFailed(AssertionError):
    """A command ended with another code than 0; the message holds the command and what it said."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A running cluster. Everything but ``try_creating`` goes through the command line that people use."""

    kubeconfig: Path
    tools: Path
    """The folder with the pinned kubectl and helm."""
    environment: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        path = f"{self.tools}{os.pathsep}{os.environ['PATH']}"
        object.__setattr__(self, "environment", {**os.environ, "PATH": path, "KUBECONFIG": str(self.kubeconfig)})

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 180) -> str:
        """Run kubectl and return what it printed; with ``check=False`` also what it said to stderr, whatever the code."""
        return self._run("kubectl", *arguments, stdin=stdin, check=check, timeout=timeout)

    def helm(self, *arguments: str, check: bool = True, timeout: float = 300) -> str:
        """Run helm and return what it printed."""
        return self._run("helm", *arguments, check=check, timeout=timeout)

    def apply(self, *manifests: dict[str, Any], namespace: str) -> str:
        """Apply objects into a namespace as a user does."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        return self.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(document))

    def get(self, kind: str, name: str | None = None, *, namespace: str | None = None, selector: str = "") -> Any:
        """Read an object, or without a name the list's items, as parsed JSON."""
        where = ("-n", namespace) if namespace else ()
        which = (name,) if name else ("-l", selector) if selector else ()
        document = json.loads(self.kubectl("get", kind, *which, *where, "-o", "json"))
        return document if name else document["items"]

    def try_creating(self, manifest: str, *, namespace: str) -> Any:
        """Ask the API server, as ``kubectl create --dry-run=server`` does, what it would store for a resource of ours.

        Raises ``CommandFailed`` with the server's answer. There are hundreds of such questions in the tests, and kubectl
        takes half a second to start.
        """
        document = yaml.safe_load(manifest)
        group, _, version = document["apiVersion"].partition("/")
        plural = f"{document['kind'].lower()}s"
        try:
            return self._custom_objects.create_namespaced_custom_object(
                group, version, namespace, plural, document, dry_run="All", field_validation="Strict"
            )
        except ApiException as refused:
            raise CommandFailed(json.loads(refused.body)["message"]) from refused

    @cached_property
    def _custom_objects(self) -> CustomObjectsApi:
        return CustomObjectsApi(new_client_from_config(config_file=str(self.kubeconfig)))  # type: ignore[no-untyped-call]

    @contextmanager
    def port_forward(self, namespace: str, target: str, port: int) -> Iterator[int]:
        """Forward a free local port to ``pod/…``, ``svc/…`` or a Service's plain name; yield the local port.

        Goes to one pod and ends with it: for looking at things, not for load.
        """
        target = target if "/" in target else f"svc/{target}"
        command = ["kubectl", "port-forward", "-n", namespace, target, f":{port}", "--address=127.0.0.1"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment, text=True
        )
        try:
            yield _forwarded_port(process, command)
        finally:
            process.terminate()
            process.communicate()

    def _run(self, *command: str, check: bool, timeout: float, stdin: str | None = None) -> str:
        done = subprocess.run(
            command, input=stdin, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            raise CommandFailed(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}(ended with {done.returncode})")
        return done.stdout if check else done.stdout + done.stderr


def bring_up(name: str) -> Cluster:
    """Start the cluster of that name with the images of this checkout loaded; quick when both are there already."""
    run_hack_cluster("up", "--name", name)
    run_hack_cluster("images", "--name", name)
    return find(name)


def find(name: str) -> Cluster:
    """Take a cluster that is up already."""
    kubeconfig = run_hack_cluster("kubeconfig", "--name", name, capture=True).strip()
    tools = run_hack_cluster("tools", capture=True).strip()
    return Cluster(kubeconfig=Path(kubeconfig), tools=Path(tools))


def run_hack_cluster(*arguments: str, capture: bool = False) -> str:
    """Run ``hack/cluster``; its progress goes to the terminal, its answer is returned with ``capture``."""
    done = subprocess.run(
        [HACK_CLUSTER, *arguments], stdout=subprocess.PIPE if capture else None, text=True, check=False
    )
    if done.returncode:
        raise CommandFailed(f"hack/cluster {' '.join(arguments)} ended with {done.returncode}")
    return done.stdout or ""


def _forwarded_port(process: subprocess.Popen[str], command: list[str]) -> int:
    """Wait for the line in which kubectl says which port it took."""
    assert process.stdout is not None
    said: list[str] = []
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        deadline = time.monotonic() + 30
        while selector.select(max(0.0, deadline - time.monotonic())):
            line = process.stdout.readline()
            if found := FORWARDED.match(line):
                return int(found[1])
            if not line:
                break
            said.append(line)
    raise CommandFailed(f"$ {' '.join(command)}\n{''.join(said)}(no port was forwarded)")
