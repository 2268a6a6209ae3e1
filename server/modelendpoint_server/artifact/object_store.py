"""Models in S3 and what speaks like it, in Google Cloud Storage and in Azure Blob Storage."""

import contextlib
import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from modelendpoint_server.artifact.addresses import check_endpoint
from modelendpoint_server.artifact.source import Access, RemoteFile, Source, forbidden, not_found, unavailable
from modelendpoint_server.artifact.uri import ModelUri
from modelendpoint_server.errors import ModelError

if TYPE_CHECKING:
    from obstore import GetOptions

_PIECE = 4 * 2**20
"""Bytes that are handed on at a time."""


class ObjectStoreSource(Source):
    """One object, or all objects below a prefix."""

    def __init__(self, uri: ModelUri, access: Access) -> None:
        self._uri = uri
        self._key = unquote(uri.path.partition("/")[2]) if uri.scheme == "https" else uri.path
        self._has_credentials = bool(access.credentials)
        try:
            self._store = open_bucket(uri, access)
        except (BaseError, ValueError) as error:
            raise forbidden(uri.shown, detail_of(error)) from error

    def files(self) -> list[RemoteFile]:
        """Take the object itself, else what lies below it as a folder."""
        prefix = self._key.rstrip("/")
        if not self._key.endswith("/"):
            try:
                meta = obstore.head(self._store, prefix)
            except FileNotFoundError:
                pass
            except BaseError as error:
                raise self._translate(error) from error
            else:
                return [RemoteFile(self._uri.file_name, meta["size"], prefix, meta["e_tag"])]
        return self._folder(prefix)

    def _folder(self, prefix: str) -> list[RemoteFile]:
        try:
            found = [meta for page in obstore.list(self._store, prefix) for meta in page]
        except FileNotFoundError as error:
            raise not_found(self._uri.shown) from error
        except BaseError as error:
            raise self._translate(error) from error
        files = [
            RemoteFile(meta["path"][len(prefix) + 1 :], meta["size"], meta["path"], meta["e_tag"])
            for meta in found
            if not meta["path"].endswith("/") and len(meta["path"]) > len(prefix)
        ]
        if not files:
            raise not_found(self._uri.shown)
        return files

    def read(self, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """Stream the object; an object that was replaced meanwhile is refused by its ETag."""
        options: GetOptions = {}
        if file.version:
            options["if_match"] = file.version
        if offset:
            options["range"] = {"offset": offset}
        try:
            for piece in obstore.get(self._store, file.location, options=options).stream(min_chunk_size=_PIECE):
                yield bytes(piece)
        except FileNotFoundError as error:
            raise not_found(self._uri.shown) from error
        except BaseError as error:
            raise self._translate(error) from error

    def _translate(self, error: BaseError) -> ModelError:
        detail = detail_of(error)
        if is_refusal(error):
            return forbidden(self._uri.shown, detail)
        if _NO_BUCKET.search(str(error)):
            return not_found(self._uri.shown)
        if not self._has_credentials and detail == type(error).__name__:
            # The client's way to say that it looked for credentials everywhere: a time-out of a cloud's metadata server.
            return forbidden(self._uri.shown, "there are no credentials")
        return unavailable(self._uri.shown, detail)


_REFUSED = re.compile(r"\b(401|403|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|invalid_grant)\b")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|status.{0,20}\b404\b")
_STATUS = re.compile(r"\b([345]\d\d) ([A-Z][A-Za-z ]+)")
_AZURE_HOST = re.compile(r"[a-z0-9]{3,24}\.blob\.core\.(windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)")
_HOST_PART = re.compile(r"[A-Za-z0-9-]*")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_CAUSES = (
    ("dns error", "its host name is unknown"),
    ("Connection refused", "connection refused"),
    ("operation timed out", "no answer in time"),
    ("credential", "no valid credentials"),
    ("certificate", "its certificate is not trusted"),
)


def open_bucket(uri: ModelUri, access: Access) -> S3Store | GCSStore | AzureStore:
    """Make the client of the bucket or container that a URI names.

    Raise ``ModelForbidden`` for a store that is where none may be, ``BaseError`` or ``ValueError`` for what the client
    does not understand. The client resolves names by itself, and follows redirects of a store wherever they lead.
    """
    for url in _endpoints(access.credentials):
        check_endpoint(url, shown=uri.shown, refused=access.refused_networks)
    for key, value in access.credentials.items():
        # They become part of the host's name.
        if key.upper().endswith(("_REGION", "_ACCOUNT_NAME")) and not _HOST_PART.fullmatch(value):
            raise forbidden(uri.shown, f"{key} is no name")
    if uri.scheme == "https":
        return _az(uri.path.partition("/")[0], access, account=uri.host.partition(".")[0])
    return _STORES[uri.scheme](uri.host, access)


def is_azure(uri: ModelUri, access: Access) -> bool:
    """Tell whether a URL is one of Azure's Blob Storage, to be asked for with an identity and not as plain web.

    With a query it is a signed link, which needs nothing else.
    """
    has_identity = bool(access.service_account) or any(key.upper().startswith("AZURE_") for key in access.credentials)
    return uri.scheme == "https" and not uri.query and has_identity and bool(_AZURE_HOST.fullmatch(uri.host))


def is_refusal(error: Exception) -> bool:
    """Tell whether the store refuses the credentials."""
    return isinstance(error, PermissionDeniedError | UnauthenticatedError) or bool(_REFUSED.search(detail_of(error)))


def detail_of(error: Exception) -> str:
    """Boil the client's error down to a few words; its text may hold URLs, so it is never passed on whole."""
    text = str(error)
    if code := _CODE.search(text):
        return code.group(1)
    if status := _STATUS.search(text):
        return f"HTTP {status.group(1)}"
    return next((words for sign, words in _CAUSES if sign.lower() in text.lower()), type(error).__name__)


def _endpoints(credentials: Mapping[str, str]) -> Iterator[str]:
    """Find each URL that the client would be told."""
    yield from (value for value in credentials.values() if value.lower().startswith(("http://", "https://")))
    with contextlib.suppress(ValueError, KeyError, TypeError):
        yield str(json.loads(credentials["GOOGLE_APPLICATION_CREDENTIALS_JSON"])["gcs_base_url"])


def _client(access: Access, *, allow_http: bool) -> Any:
    return {
        "timeout": datetime.timedelta(seconds=access.timeout_seconds),
        "read_timeout": datetime.timedelta(seconds=access.stall_seconds),
        "connect_timeout": datetime.timedelta(seconds=5),
        "allow_http": allow_http,
    }


def _retry(access: Access) -> Any:
    return {"max_retries": 3, "retry_timeout": datetime.timedelta(seconds=access.stall_seconds)}


def _chosen(credentials: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    return {key.lower(): value for key, value in credentials.items() if key.upper().startswith(prefixes)}


def _s3(bucket: str, access: Access) -> S3Store:
    config = _chosen(access.credentials, "AWS_")
    allow_http = config.pop("aws_allow_http", "").lower() in ("true", "1")
    endpoint = config.get("aws_endpoint_url", config.get("aws_endpoint", ""))
    return S3Store(
        bucket,
        config=config,  # type: ignore[arg-type]
        client_options=_client(access, allow_http=allow_http or endpoint.startswith("http://")),
        retry_config=_retry(access),
    )


def _gs(bucket: str, access: Access) -> GCSStore:
    config = _chosen(access.credentials, "GOOGLE_")
    if key := config.pop("google_application_credentials_json", ""):
        config["google_service_account_key"] = key
    allow_http = config.pop("google_allow_http", "").lower() in ("true", "1")
    return GCSStore(
        bucket,
        config=config,  # type: ignore[arg-type]
        client_options=_client(access, allow_http=allow_http),
        retry_config=_retry(access),
    )


def _az(container: str, access: Access, *, account: str = "") -> AzureStore:
    config = _chosen(access.credentials, "AZURE_")
    if account:
        config["azure_storage_account_name"] = account
    allow_http = config.pop("azure_allow_http", "").lower() in ("true", "1")
    endpoint = config.get("azure_endpoint", config.get("azure_storage_endpoint", ""))
    return AzureStore(
        container,
        config=config,  # type: ignore[arg-type]
        client_options=_client(access, allow_http=allow_http or endpoint.startswith("http://")),
        retry_config=_retry(access),
    )


_STORES: dict[str, Callable[[str, Access], S3Store | GCSStore | AzureStore]] = {"s3": _s3, "gs": _gs, "az": _az}
