"""The limits that a request's data must keep."""

import dataclasses

from modelendpoint_server.errors import InvalidRequest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds for one request, and what a missing value means."""

    max_rows: int
    max_nesting: int
    null_is_nan: bool

    def check_rows(self, rows: int) -> None:
        """Raise ``InvalidRequest`` for too many rows."""
        if rows > self.max_rows:
            raise InvalidRequest(
                f"The request has {rows} rows; at most {self.max_rows} are taken. Send them in several requests."
            )
