"""Models behind plain HTTP and HTTPS."""

import functools
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from modelendpoint_server.artifact.addresses import AddressRefused, connect, refused_address
from modelendpoint_server.artifact.source import (
    Access,
    RangeRefused,
    RemoteFile,
    Source,
    forbidden,
    not_found,
    unavailable,
)
from modelendpoint_server.artifact.uri import ModelUri
from modelendpoint_server.errors import ModelError
from modelendpoint_server.settings import Networks

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


class _Http(urllib.request.HTTPHandler):
    """Connects to no refused address, wherever a redirect leads."""

    def __init__(self, refused: Networks) -> None:
        super().__init__()
        self._connect = functools.partial(connect, refused=refused)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)

    def _connection(self, host: str, **options: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(host, **options)
        connection._create_connection = self._connect  # type: ignore[attr-defined]
        return connection


class _Https(urllib.request.HTTPSHandler):
    """The same, encrypted."""

    def __init__(self, refused: Networks) -> None:
        super().__init__()
        self._connect = functools.partial(connect, refused=refused)
        self._trust = ssl.create_default_context()

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, req)

    def _connection(self, host: str, **options: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPSConnection(host, context=self._trust, **options)
        connection._create_connection = self._connect  # type: ignore[attr-defined]
        return connection


@functools.cache
def _opener(refused: Networks) -> urllib.request.OpenerDirector:
    """Make a client that speaks HTTP and nothing else: by a redirect, ``build_opener`` would get to FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(refused),
        _Https(refused),
        _CarefulRedirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def send(url: str, headers: Mapping[str, str], *, shown: str, access: Access) -> Any:
    """Send a GET request; return its answer whatever its status, raise a ``ModelError`` if there is none."""
    try:
        request_ = urllib.request.Request(url, headers=dict(headers))
        return _opener(access.refused_networks).open(request_, timeout=access.stall_seconds)
    except urllib.error.HTTPError as error:
        return error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(reason := getattr(error, "reason", error), AddressRefused):
            raise refused_address(shown, str(reason)) from error
        raise unavailable(shown, _detail(error)) from error


def request(url: str, *, shown: str, headers: Mapping[str, str], access: Access) -> Any:
    """Send a GET request; raise our own errors for everything that is no success."""
    answer = send(url, headers, shown=shown, access=access)
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


class WebSource(Source):
    """The file at one URL."""

    def __init__(self, uri: ModelUri, access: Access) -> None:
        self._uri = uri
        self._access = access
        authorization = access.credentials.get("AUTHORIZATION")
        self._headers = {"Authorization": authorization} if authorization else {}
        self._begun: Any = None
        """The answer that told about the file; its body is the file."""

    def files(self) -> list[RemoteFile]:
        """Ask for the file; what comes before its bytes tells size and version."""
        self._begun = answer = self._get({})
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        return [RemoteFile(self._uri.file_name, answer.length, self._uri.text, version)]

    def read(self, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """Stream the file; whether it may go on from an offset, the server decides."""
        answer, self._begun = self._begun, None
        if answer is None or offset:
            answer = self._get(range_from(offset, file.version))
        if offset and answer.status != 206:
            answer.close()
            raise RangeRefused
        yield from read_pieces(answer, shown=self._uri.shown)

    def close(self) -> None:
        """Let go of an answer that nobody reads."""
        if self._begun is not None:
            self._begun.close()
            self._begun = None

    def _get(self, headers: Mapping[str, str]) -> Any:
        return request(self._uri.text, shown=self._uri.shown, headers={**self._headers, **headers}, access=self._access)


def range_from(offset: int, version: str | None) -> dict[str, str]:
    """Ask for the rest of a file, and for all of it if it is another one by now."""
    if not offset:
        return {}
    # A weak ETag may stay the same while bytes change; servers refuse it here.
    if_same = {"If-Range": version} if version and not version.startswith("W/") else {}
    return {"Range": f"bytes={offset}-", **if_same}


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
