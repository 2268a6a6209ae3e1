"""The demo's steps, in order. Everything shown behind a ``$`` is run as it is shown.

Safe to repeat: what is there already is found or made anew, so that an interrupted run is continued by the next one.
"""

import json
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from demo import models
from demo.models import HeldOut, Version
from demo.terminal import DemoFailed, Terminal
from modelendpoint.load_rig import LoadPlan, LoadResult
from support.load_run import OPERATOR_IMAGE, LoadRun, assert_split, make_requests, split_interval, under_load

EXAMPLE = "examples/01-quickstart/endpoint.yaml"
NAMESPACE = "demo"
ENDPOINT = "wine"
SYSTEM, OPERATOR = "modelendpoint-system", "modelendpoint-operator"
KUBECTL = f"kubectl -n {NAMESPACE}"
TO_VERSION_2 = 's|wine/1/|wine/2/|; s|version: "1"|version: "2"|'

STEPS = 7
TRAFFIC_RATE = 20
SPLIT_REQUESTS, CHECK_REQUESTS = 2000, 500
CHECK_RATE = 120
LONGEST_SECONDS = 1800

A_CLUSTER_OF_ITS_OWN = """\
This brings up a Kubernetes cluster of its own, installs ModelEndpoint, and updates a model under load.
Nothing outside that cluster is touched. The first run on a machine takes about 15 minutes, nearly all of
it the one-time build of Kubernetes; later ones take about two. Interrupt it when you like and start again."""
INTO_YOUR_CLUSTER = f"""\
This installs ModelEndpoint into the cluster of your current context and updates a model under load. It uses
the namespaces {SYSTEM} and {NAMESPACE} there, and a copy of your kubeconfig. It takes about two minutes."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """One run of the demo."""

    terminal: Terminal
    cluster: str
    """Name of the cluster for ``hack/cluster``."""
    kind: str | None
    """Kind of the cluster: node, kind, current; or None to let ``hack/cluster`` choose."""
    folder: Path
    """Where the demo keeps its files."""

    def tell(self) -> None:
        """Run all steps. Raises ``DemoFailed`` or ``AssertionError`` when something is not as it should be."""
        self.terminal.say(INTO_YOUR_CLUSTER if self.kind == "current" else A_CLUSTER_OF_ITS_OWN)
        self.bring_up_the_cluster()
        self.install_the_operator(is_new=self.load_the_images())
        self.store_the_models()
        try:
            self.serve_version_1()
            self.update_under_load()
        except (DemoFailed, AssertionError) as error:
            raise DemoFailed(f"{error}\n  What the endpoint says: {KUBECTL} describe mep.") from error
        self.say_how_to_go_on()

    @cached_property
    def trained(self) -> tuple[HeldOut, Version, Version]:
        """The data and both models."""
        return models.train()

    def bring_up_the_cluster(self) -> None:
        """Start the cluster, or find it running."""
        self._step(1, "Bring up a Kubernetes cluster")
        kind = f" --kind {self.kind}" if self.kind else ""
        self.terminal.run_long(f"hack/cluster up --name {self.cluster}{kind}")
        self.terminal.export("KUBECONFIG", f"$(hack/cluster kubeconfig --name {self.cluster})")
        self.terminal.export("PATH", "$(hack/cluster tools):$PATH")
        self.terminal.run("kubectl get nodes")

    def load_the_images(self) -> bool:
        """Build what has changed, and load it into the cluster; tell whether the operator has changed."""
        self._step(2, "Build the images from Dockerfile and load them into the cluster")
        said = self.terminal.run_long(f"hack/cluster images --name {self.cluster}")
        return f"loaded {OPERATOR_IMAGE}" in said

    def install_the_operator(self, *, is_new: bool) -> None:
        """Install the chart, or upgrade it."""
        self._step(3, "Install the operator")
        is_there = self._raw_kubectl("-n", SYSTEM, "get", f"deployment/{OPERATOR}", "--ignore-not-found")
        self.terminal.run(
            "helm upgrade --install modelendpoint charts/modelendpoint \\\n"
            f"  --namespace {SYSTEM} --create-namespace --wait --timeout 3m --hide-notes"
        )
        if is_there and is_new:
            self.terminal.say("Its image was built anew under the same name, which no rollout sees:")
            self.terminal.run(f"kubectl -n {SYSTEM} rollout restart deployment/{OPERATOR}")
            self.terminal.run(f"kubectl -n {SYSTEM} rollout status deployment/{OPERATOR} --timeout=2m")
        self.terminal.run(f"kubectl -n {SYSTEM} get deployments")

    def store_the_models(self) -> None:
        """Start the store, train, upload."""
        self._step(4, "Start an S3 store, train two models and upload them")
        self.terminal.run(f"kubectl create namespace {NAMESPACE} --dry-run=client -o yaml | kubectl apply -f -")
        if not self._kubectl("get", "secret", "models", "--ignore-not-found"):
            self.terminal.run(
                f"{KUBECTL} create secret generic models --from-literal=AWS_ACCESS_KEY_ID=models \\\n"
                "  --from-literal=AWS_SECRET_ACCESS_KEY=$(head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \\n') \\\n"
                f"  --from-literal=AWS_ENDPOINT_URL=http://store.{NAMESPACE}.svc:7070 \\\n"
                "  --from-literal=AWS_REGION=us-east-1 --from-literal=AWS_ALLOW_HTTP=true"
            )
        self.terminal.run(f"{KUBECTL} apply -f hack/store/store.yaml")
        held_out, *versions = self.trained
        for version in versions:
            (self.folder / f"v{version.version}.onnx").write_bytes(version.onnx)
            self.terminal.say(
                f"Trained version {version.version}, {version.title}: right for {version.accuracy:.1%} of "
                f"{len(held_out.rows)} held-out wines. As ONNX: {len(version.onnx):,} bytes, "
                f"sha256 {version.sha256[:12]}…"
            )
        self.terminal.run(f"{KUBECTL} rollout status deployment/store --timeout=2m")
        self._upload(versions)

    def _upload(self, versions: list[Version]) -> None:
        self.terminal.export(
            "KEY", f"$({KUBECTL} get secret models -o jsonpath='{{.data.AWS_SECRET_ACCESS_KEY}}' | base64 --decode)"
        )
        s3 = (
            "curl --silent --show-error --output /dev/null --write-out '%{http_code}\\n' \\\n"
            '  --aws-sigv4 aws:amz:us-east-1:s3 --user "models:$KEY" -H x-amz-content-sha256:UNSIGNED-PAYLOAD'
        )
        with self._forwarded("service/store", 7070) as url:
            if self.terminal.run(f"{s3} \\\n  --request PUT {url}/models").strip() not in ("200", "409"):
                raise DemoFailed("The store did not create the bucket.")
            for version in versions:
                path = self.folder / f"v{version.version}.onnx"
                if self.terminal.run(f"{s3} \\\n  --upload-file {path} {url}/models/{version.key}").strip() != "200":
                    raise DemoFailed(f"The store did not take version {version.version}.")

    def serve_version_1(self) -> None:
        """Apply the example, and compare JSON and CSV answers with scikit-learn's own."""
        self._step(5, "Declare an endpoint and ask it")
        if self._kubectl("get", "mep", ENDPOINT, "--ignore-not-found"):
            self.terminal.say("An earlier run has left its endpoint; this one begins with a new one.")
            self.terminal.run(f"{KUBECTL} delete mep {ENDPOINT} --cascade=foreground --timeout=2m")
        self.terminal.run(f"cat {EXAMPLE}")
        self.terminal.run(f"{KUBECTL} apply -f {EXAMPLE}")
        self._wait_until_ready()
        self.terminal.run(f"{KUBECTL} get mep {ENDPOINT}")
        held_out, first, _ = self.trained
        (self.folder / "rows.json").write_text(held_out.as_json())
        (self.folder / "rows.csv").write_text(held_out.as_csv())
        with self._forwarded(f"service/{ENDPOINT}", 80) as url:
            as_json = models.read_json(self._ask(url, "application/json", "rows.json"))
            as_csv = models.read_csv(self._ask(url, "text/csv", "rows.csv"))
        self._show_rows(held_out, first, as_json=as_json, as_csv=as_csv)

    def _ask(self, url: str, content_type: str, file: str) -> str:
        return self.terminal.run(
            f"curl --silent --show-error --fail-with-body {url}/predict \\\n"
            f"  -H 'Content-Type: {content_type}' -H 'Accept: {content_type}' --data-binary @{self.folder / file}",
            most_characters=230,
        )

    def _show_rows(
        self, held_out: HeldOut, version: Version, *, as_json: models.Answers, as_csv: models.Answers
    ) -> None:
        self.terminal.say("\n  wine  really  scikit-learn    from JSON       from CSV")
        for number in range(5):
            parts = [(version.labels, version.probabilities), as_json, as_csv]
            cells = "   ".join(f"{labels[number]} ({max(sure[number]):.6f})" for labels, sure in parts)
            self.terminal.say(f"{number:6}{held_out.growers[number]:8}  {cells}")
        for form, answers in (("JSON", as_json), ("CSV", as_csv)):
            comparison = models.compare(answers, version)
            text = (
                f"{form}: {comparison.equal_labels} of {comparison.rows} predictions equal scikit-learn's own, "
                f"probabilities differ by {comparison.most_difference:.1e} at most"
            )
            if not comparison.is_equal:
                raise DemoFailed(text)
            self.terminal.succeed(text)

    def update_under_load(self) -> None:
        """Canary, promotion and the way back, with requests on their way all the time."""
        self._step(6, "Update the model under load: 10 % first, then all, then back")
        self.terminal.say(
            f"From now on a pod in the cluster sends {TRAFFIC_RATE} requests/s, half of them on new connections, and\n"
            "compares every answer with what the model that claims to have made it computes. It tries nothing twice."
        )
        plan = self.plan(count=None, rate=TRAFFIC_RATE)
        with under_load(self._raw_kubectl, plan, namespace=NAMESPACE, name="load-traffic") as traffic:
            stable = self._revision("stable")
            candidate = self._start_the_canary()
            self._send_and_show({stable: 90, candidate: 10}, count=SPLIT_REQUESTS, rate=CHECK_RATE)
            self.terminal.run(f"{KUBECTL} annotate mep/{ENDPOINT} modelendpoint.dev/promote={candidate}")
            self._wait_until_ready()
            self.terminal.run(f"{KUBECTL} get mep {ENDPOINT}")
            self._send_and_show({candidate: 100}, count=CHECK_REQUESTS, rate=CHECK_RATE)
            self.terminal.say(
                "And back: the file of version 1 again. Its revision has served before, so it is taken at once."
            )
            self.terminal.run(f"{KUBECTL} apply -f {EXAMPLE}")
            self._wait_until_ready()
            self.terminal.run(f"{KUBECTL} get mep {ENDPOINT}")
            self._send_and_show({stable: 100}, count=CHECK_REQUESTS, rate=CHECK_RATE)
            self._show_traffic(traffic)

    def _start_the_canary(self) -> str:
        self.terminal.run(f"sed {shlex.quote(TO_VERSION_2)} {EXAMPLE} | {KUBECTL} apply -f -")
        phase = "--for=jsonpath='{.status.rollout.phase}'=Paused"
        self.terminal.run(f"{KUBECTL} wait mep/{ENDPOINT} {phase} --timeout=3m")
        self.terminal.run(f"{KUBECTL} get mep {ENDPOINT}")
        return self._revision("candidate")

    def _send_and_show(self, weights: dict[str, int], *, count: int, rate: float) -> None:
        plan = self.plan(count=count, rate=rate)
        with under_load(self._raw_kubectl, plan, namespace=NAMESPACE, name="load-check") as run:
            result = run.result().assert_none_failed()
        assert_split(result.by_revision, weights)
        shares = ", ".join(
            f"revision {revision} answered {result.by_revision.get(revision, 0)} "
            f"({weight} %: {' to '.join(map(str, split_interval(count, weight)))})"
            for revision, weight in weights.items()
        )
        self.terminal.succeed(f"{result.sent} requests, {result.failed} failed; {shares}")

    def _show_traffic(self, traffic: LoadRun) -> None:
        result: LoadResult = traffic.stop().assert_none_failed()
        self.terminal.say("\nThe traffic that went on all the while:")
        self.terminal.say(result.summary())
        self.terminal.succeed(
            f"{result.sent} requests through canary, promotion and roll back: {result.failed} failed, all answers right"
        )

    def say_how_to_go_on(self) -> None:
        """Leave it running and say what can be done with it."""
        self._step(7, "It goes on running")
        held_out, _, _ = self.trained
        body = json.dumps({"instances": [list(held_out.rows[0])]})
        url = self._kubectl("get", "mep", ENDPOINT, "-o", "jsonpath={.status.url}")
        down = (
            f"kubectl delete namespace {NAMESPACE} && helm -n {SYSTEM} uninstall modelendpoint && make down"
            if self.kind == "current"
            else "make down"
        )
        self.terminal.say(
            f"Applications in the cluster call {url}/predict. From this machine:\n\n"
            f'  export KUBECONFIG="$(hack/cluster kubeconfig --name {self.cluster})" PATH="$(hack/cluster tools):$PATH"\n'
            f"  {KUBECTL} port-forward service/{ENDPOINT} 8080:80 &\n"
            f"  curl http://127.0.0.1:8080/predict -H 'Content-Type: application/json' -d '{body}'\n\n"
            f"or open http://127.0.0.1:8080/ in a browser: a page with the model's inputs and a form.\n\n"
            f"Look around:\n\n"
            f"  {KUBECTL} get mep -o wide\n"
            f"  {KUBECTL} describe mep {ENDPOINT}\n"
            f"  {KUBECTL} get pods -L modelendpoint.dev/revision\n"
            f"  kubectl explain mep.spec.rollout\n\n"
            f"Take it down:\n\n  {down}\n"
        )
        self.terminal.succeed(f"Done in {self.terminal.elapsed}")

    def plan(self, *, count: int | None, rate: float) -> LoadPlan:
        """Plan a load on the endpoint: all held-out rows, and what both versions compute for them."""
        held_out, *versions = self.trained
        return LoadPlan(
            url=f"http://{ENDPOINT}.{NAMESPACE}.svc",
            requests=make_requests(held_out.rows),
            oracle={version.sha256: models.run_onnx(version.onnx, held_out.rows) for version in versions},
            rate=rate,
            count=count,
            duration_seconds=LONGEST_SECONDS,
            timeout_seconds=15,  # Lost requests are still found, and a busy machine does not look like one.
        )

    def _wait_until_ready(self) -> None:
        try:
            self.terminal.run(f"{KUBECTL} wait mep/{ENDPOINT} --for=condition=Ready --timeout=3m")
        except DemoFailed:
            self.terminal.run(f"{KUBECTL} describe mep {ENDPOINT}")
            raise

    def _revision(self, role: str) -> str:
        revision = self._kubectl("get", "mep", ENDPOINT, "-o", f"jsonpath={{.status.{role}.revision}}")
        if not revision:
            raise DemoFailed(f"The endpoint has no {role} revision. Look: {KUBECTL} describe mep {ENDPOINT}")
        return revision

    @contextmanager
    def _forwarded(self, target: str, port: int) -> Iterator[str]:
        local = _free_port()
        command = f"{KUBECTL} port-forward {target} {local}:{port} --address 127.0.0.1"
        with self.terminal.background(command, ready="Forwarding from"):
            yield f"http://127.0.0.1:{local}"

    def _kubectl(self, *arguments: str) -> str:
        return self._raw_kubectl("--namespace", NAMESPACE, *arguments)

    def _raw_kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.terminal.quietly("kubectl", *arguments, stdin=stdin)

    def _step(self, number: int, title: str) -> None:
        self.terminal.step(number, STEPS, title)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
