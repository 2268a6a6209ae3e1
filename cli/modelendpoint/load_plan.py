"""What ``mep load`` sends and what it expects: one request for each row of a file, and each model's answers to them.

Sending and judging is ``load_rig``'s.
"""

import csv
import io
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from modelendpoint.errors import CliError
from modelendpoint.load_rig import Request, Row
from modelendpoint.models.agreement import ask_rows, flat
from modelendpoint.models.opened import OpenModel, open_model, read_rows
from modelendpoint_server.errors import RequestError

_JSON, _CSV = "application/json", "text/csv"
_LONGEST_WAIT_SECONDS = 5


def read_requests(data: Path, path: str) -> list[Request]:
    """Make one request of each row of a CSV or JSON file; raise ``CliError`` for a file that has none."""
    try:
        text = data.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{data} can't be read ({error}).") from error
    bodies = _json_bodies(data, text) if data.suffix == ".json" else _csv_bodies(text)
    if not bodies:
        raise CliError(f"{data} has no rows. Give a CSV file, or JSON as a request has it.")
    kind = _JSON if data.suffix == ".json" else _CSV
    return [Request(row=row, path=path, content_type=kind, body=body) for row, body in enumerate(bodies)]


def example_request(url: str, path: str) -> list[Request]:
    """Ask the endpoint for its own example; raise ``CliError`` when it has none to give."""
    place = f"{url}/openapi.json"
    try:
        with urllib.request.urlopen(place, timeout=_LONGEST_WAIT_SECONDS) as answer:
            document = json.load(answer)
        example = document["paths"]["/predict"]["post"]["requestBody"]["content"][_JSON]["example"]
    except urllib.error.HTTPError as error:
        raise CliError(f"{place} is not there (status {error.code}). Give rows: --data rows.csv") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise CliError(f"Nothing answers at {url} ({reason}). Start it: mep serve model.onnx") from error
    except (ValueError, LookupError, TypeError) as error:
        raise CliError(f"{place} has no example of a request. Give rows: --data rows.csv") from error
    return [Request(row=0, path=path, content_type=_JSON, body=json.dumps(example))]


def split_url(url: str) -> tuple[str, str]:
    """Take a URL apart into where the endpoint is and the path of predictions; raise ``CliError`` if it is none."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise CliError(f"{url} is no address of an endpoint. Write one such as http://127.0.0.1:8080")
    return f"{parts.scheme}://{parts.netloc}", parts.path if parts.path.strip("/") else "/predict"


def compute_oracle(places: Sequence[str], data: Path) -> dict[str, Sequence[Row]]:
    """Let each model answer all rows: from its sha256 to the values of each row, as they stand in an answer."""
    with ExitStack() as stack:
        opened = [stack.enter_context(open_model(place)) for place in places]
        return {model.artifact.sha256: _rows(model, data) for model in opened}


def _rows(model: OpenModel, data: Path) -> list[Row]:
    rows: list[Row] = []
    for number, answer in enumerate(ask_rows(model, read_rows(data, model.signature))):
        if isinstance(answer, RequestError):
            raise CliError(f"{model.place} does not answer row {number} of {data}: {answer} Leave it out of the file.")
        rows.append([value for part in answer.values() for value in flat(part).values()])
    return rows


def _csv_bodies(text: str) -> list[str]:
    """Take the rows apart; each gets the header again, if the file has one."""
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    header = rows[:1] if rows and not any(map(_is_number, rows[0])) else []
    return [_csv_text([*header, row]) for row in rows[len(header) :]]


def _json_bodies(data: Path, text: str) -> list[str]:
    try:
        rows = json.loads(text)["instances"]
        return [json.dumps({"instances": [row]}) for row in rows]
    except (ValueError, LookupError, TypeError) as error:
        raise CliError(f'{data} is not {{"instances": [...]}} with one item for each row.') from error


def _csv_text(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
