"""The form of Envoy's documents: type names, discovery responses, file sources, addresses. No content of one."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from modelendpoint_operator import names

Document = dict[str, Any]

TYPES = "type.googleapis.com/envoy"
"""Start of the names of Envoy's types."""


def content_hash(document: Mapping[str, Any] | Sequence[Any]) -> str:
    """Name a document's content in 12 hex digits."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


def discovery(resources: list[Document]) -> Document:
    return {"version_info": content_hash(resources), "resources": resources}


def file_source(file: str) -> Document:
    # A ConfigMap's files change by a swap of the link `..data`, which is only seen on the folder.
    return {
        "resource_api_version": "V3",
        "path_config_source": {
            "path": f"{names.ROUTER_CONFIG_DIR}/{file}",
            "watched_directory": {"path": names.ROUTER_CONFIG_DIR},
        },
    }


def address(host: str, port: int) -> Document:
    return {"socket_address": {"address": host, "port_value": port}}


def header(key: str, value: str) -> Document:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
