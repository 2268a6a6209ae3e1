"""What a request needs: the settings, the model's life and the metrics, and the way from bytes to bytes."""

from modelendpoint_server.formats.limits import Limits
from modelendpoint_server.lifecycle import Lifecycle
from modelendpoint_server.metrics import Metrics
from modelendpoint_server.protocols import Answer, Head, WireProtocol
from modelendpoint_server.settings import NonFinite, Settings


class Service:
    """Answers requests of any protocol, whichever way they came in."""

    def __init__(self, settings: Settings, lifecycle: Lifecycle, metrics: Metrics) -> None:
        self.settings = settings
        self.lifecycle = lifecycle
        self.metrics = metrics
        self.name = settings.name
        self.limits = Limits(
            max_rows=settings.max_rows,
            max_nesting=settings.max_nesting,
            null_is_nan=settings.non_finite is NonFinite.ALLOW,
        )

    def answer(self, body: bytes, protocol: WireProtocol, head: Head) -> Answer:
        """Decode, predict, encode; raise a ``RequestError`` that says what is wrong."""
        predictor = self.lifecycle.predictor()
        signature = predictor.signature
        call = protocol.decode(body, head, signature, self.limits)
        result = predictor.predict(call)
        return protocol.encode(result, call, head, signature)
