"""Models behind plain HTTP and HTTPS."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from modelendpoint_server.artifact.source import (
    Access,
    RangeRefused,
    RemoteFile,
    forbidden,
    not_found,
    unavailable,
)
from modelendpoint_server.artifact.uri import ModelUri
from modelendpoint_server.errors import ModelError

_PIECE = 1024 * 1024
_SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization")


class _CarefulRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never hand credentials to another host, and never leave https for http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if old.scheme == "https" and new.scheme != "https":
            raise urllib.error.HTTPError(req.full_url, code, "redirect from https to http", headers, fp)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and new.netloc != old.netloc:
            for header in [name for name in request.headers if name.lower() in _SECRET_HEADERS]:
                request.remove_header(header)
        return request


_OPENER = urllib.request.build_opener(_CarefulRedirects())


def send(url: str, headers: Mapping[str, str], *, shown: str, timeout: float) -> Any:
    """Send a GET request; return its answer whatever its status, raise ``StoreUnavailable`` if there is none."""
    try:
        return _OPENER.open(urllib.request.Request(url, headers=dict(headers)), timeout=timeout)
    except urllib.error.HTTPError as error:
        return error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise unavailable(shown, _detail(error)) from error


def request(url: str, *, shown: str, headers: Mapping[str, str], timeout: float) -> Any:
    """Send a GET request; raise our own errors for everything that is no success."""
    answer = send(url, headers, shown=shown, timeout=timeout)
    if answer.status >= 300:
        answer.close()
        raise of_status(answer.status, shown)
    return answer


def read_pieces(answer: Any, *, shown: str) -> Iterator[bytes]:
    """Read an answer's body; raise ``StoreUnavailable`` when it stalls or ends early."""
    try:
        with answer:
            while piece := answer.read(_PIECE):
                yield piece
            if answer.length:
                raise unavailable(shown, "it broke off")
    except (OSError, http.client.HTTPException) as error:
        raise unavailable(shown, _detail(error)) from error


class WebSource:
    """The file at one URL."""

    def __init__(self, uri: ModelUri, access: Access) -> None:
        self._uri = uri
        self._timeout = access.stall_seconds
        authorization = access.credentials.get("AUTHORIZATION")
        self._headers = {"Authorization": authorization} if authorization else {}

    def files(self) -> list[RemoteFile]:
        """Name the file; its size becomes known with its first byte."""
        return [RemoteFile(self._uri.file_name, None, self._uri.text)]

    def read(self, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """Stream the file; whether it may go on from an offset, the server decides."""
        headers = {**self._headers, **({"Range": f"bytes={offset}-"} if offset else {})}
        answer = request(file.location, shown=self._uri.shown, headers=headers, timeout=self._timeout)
        if offset and answer.status != 206:
            answer.close()
            raise RangeRefused
        yield from read_pieces(answer, shown=self._uri.shown)


def of_status(status: int, shown: str) -> ModelError:
    """Translate the status code of a refusal."""
    if status in (404, 410):
        return not_found(shown)
    if status in (401, 403, 407):
        return forbidden(shown, f"HTTP {status}")
    return unavailable(shown, f"HTTP {status}")


def _detail(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return type(reason).__name__ if not isinstance(reason, OSError) or not reason.strerror else reason.strerror
