"""Reads what a model server reports about itself on its management port."""

import http.client
import json

from modelendpoint_operator import names
from modelendpoint_operator.adapters.reduction import parse_report
from modelendpoint_operator.observation import PodReport

MAX_BYTES = 1024 * 1024
"""An answer beyond this is none of our server."""


class ReportReader:
    """Asks model servers for their report."""

    def __init__(self, *, port: int = names.MANAGEMENT_PORT, timeout_seconds: float = 2.0) -> None:
        self._port = port
        self._timeout_seconds = timeout_seconds

    def read(self, address: str) -> PodReport | None:
        """Ask the pod at an IP address. None when it does not answer (yet), or not like one of our servers."""
        return parse_report(self.read_document(address))

    def read_document(self, address: str) -> object:
        """Ask the pod at an IP address for its report as it stands; None when it does not answer (yet)."""
        connection = http.client.HTTPConnection(address, self._port, timeout=self._timeout_seconds)
        try:
            connection.request("GET", names.PATH_REPORT)
            response = connection.getresponse()
            body = response.read(MAX_BYTES + 1)
            if response.status != http.HTTPStatus.OK or len(body) > MAX_BYTES:
                return None
            document: object = json.loads(body)
            return document
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
