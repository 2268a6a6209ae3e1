"""What a request needs: the settings, the model's life and the metrics, and the way from bytes to bytes.

Both ways in, Flask's routes and the fast path, use this; so their answers are the same bytes. No Flask here.
"""

import gzip
from collections.abc import Mapping
from typing import Any

from modelendpoint_server.admission import LargeBodies, MemoryBudget
from modelendpoint_server.capture import Capture
from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.frames import Introduction
from modelendpoint_server.lifecycle import Lifecycle
from modelendpoint_server.metrics import Metrics
from modelendpoint_server.protocols import Answer, Head, OpenInference, Rows, WireProtocol
from modelendpoint_server.settings import NonFinite, Settings

Headers = list[tuple[str, str]]

_SMALL_BODY = 65536
"""Bodies below this number of bytes do not count against the memory budget."""
LARGE_BODY = 4 * 2**20
"""Bodies above this number of bytes come as they are sent; for smaller ones the router waits before it sends them on."""
_LONGEST_REQUEST_ID = 256
_GZIP_LEVEL = 1


class Service:
    """Answers requests of any protocol, whichever way they came in."""

    def __init__(
        self, settings: Settings, lifecycle: Lifecycle, *, metrics: Metrics, body_budget: int, threads: int
    ) -> None:
        self.settings = settings
        self.lifecycle = lifecycle
        self.metrics = metrics
        self.name = settings.name
        self.version = settings.model_version or settings.revision
        self.limits = Limits(
            max_rows=settings.max_rows,
            max_nesting=settings.max_nesting,
            null_is_nan=settings.non_finite is NonFinite.ALLOW,
        )
        self.rest, self.v1, self.invocations = Rows("rest"), Rows("v1"), Rows("invocations")
        self.v2 = OpenInference("v2", model=self.name, version=self.version)
        self.large_bodies = LargeBodies(threads)
        self._budget = MemoryBudget(body_budget)
        self.capture = Capture(
            settings.monitoring_dir / "config.json",
            self._introduce,
            endpoint=settings.name,
            revision=settings.revision,
        )
        metrics.registry.register(self.capture)

    def _introduce(self, variant: str) -> Introduction | None:
        serving = self.lifecycle.serving
        if serving is None:
            return None
        return Introduction(
            endpoint=self.name,
            revision=self.settings.revision,
            variant=variant,
            sha256=serving.sha256,
            signature=serving.predictor.signature,
            limits=self.limits,
        )

    def paths(self) -> dict[str, WireProtocol]:
        """Map the fixed paths of predictions to their protocols."""
        return {
            "/predict": self.rest,
            "/invocations": self.invocations,
            f"/v1/models/{self.name}:predict": self.v1,
            f"/v2/models/{self.name}/infer": self.v2,
        }

    def answer(self, body: bytes, protocol: WireProtocol, head: Head) -> Answer:
        """Decode, predict, encode; raise a ``RequestError`` that says what is wrong."""
        if len(body) < _SMALL_BODY:
            return self._answer(body, protocol, head)
        with self._budget.hold(len(body)):
            return self._answer(body, protocol, head)

    def _answer(self, body: bytes, protocol: WireProtocol, head: Head) -> Answer:
        predictor = self.lifecycle.predictor()
        signature = predictor.signature
        call = protocol.decode(body, head, signature, self.limits)
        result = predictor.predict(call)
        return protocol.encode(result, call, head, signature)

    def finish(self, answer: Answer, environ: Mapping[str, Any]) -> tuple[bytes, Headers]:
        """Return the body to send and its headers: compressed if it is large and the client likes that."""
        body = answer.body
        headers = [("Content-Type", answer.content_type)]
        if answer.header_length is not None:
            headers.append(("Inference-Header-Content-Length", str(answer.header_length)))
        least = self.settings.gzip_min_bytes
        if least and len(body) >= least and "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        headers.append(("Content-Length", str(len(body))))
        return body, headers

    def identity(self, environ: Mapping[str, Any]) -> Headers:
        """Return the headers of every answer: which revision and which bytes made it, and whose request it was."""
        headers = [("x-model-revision", self.settings.revision)]
        serving = self.lifecycle.serving
        if serving is not None:
            headers.append(("x-model-sha256", serving.sha256))
        request_id = environ.get("HTTP_X_REQUEST_ID")
        if request_id is not None and len(request_id) <= _LONGEST_REQUEST_ID:
            headers.append(("x-request-id", request_id))
        if self.lifecycle.draining:
            headers.append(("Connection", "close"))
        return headers
