"""A model served in this process: the Flask app as the worker builds it, without a port."""

from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from modelendpoint_server.app import create_app
from modelendpoint_server.service import Service
from modelendpoint_server.settings import Settings
from modelendpoint_server.worker import build_service


def settings_for(uri: str, folder: Path, **changes: Any) -> Settings:
    """Make settings for a model, with every folder below one that the test owns."""
    return Settings(
        **{
            "model_uri": uri,
            "name": "churn",
            "revision": "7",
            "model_dir": folder / "models",
            "revision_dir": folder / "revision",
            "credentials_dir": folder / "credentials",
            "pvc_dir": folder / "pvc",
            "configmap_dir": folder / "configmap",
            **changes,
        }
    )


def service_for(data: bytes, folder: Path, **changes: Any) -> Service:
    """Serve a model's bytes; raise what stands in the way of its being ready."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(data)
    service = build_service(settings_for(f"file://{path}", folder, **changes), cores=2, memory=2**30)
    service.lifecycle.get_ready()
    return service


def client_for(data: bytes, folder: Path, **changes: Any) -> FlaskClient:
    """Serve a model's bytes to a test client."""
    return create_app(service_for(data, folder, **changes)).test_client()
