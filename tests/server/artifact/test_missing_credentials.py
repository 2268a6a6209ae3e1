"""A store that is asked without credentials: the Secret was forgotten, which is no trouble of the store."""

from pathlib import Path

import obstore
import pytest
from obstore.exceptions import GenericError

from modelendpoint_server.artifact.object_store import ObjectStoreSource
from modelendpoint_server.artifact.source import Access
from modelendpoint_server.artifact.uri import parse_uri
from modelendpoint_server.errors import ModelForbidden, StoreUnavailable


def source(credentials: dict[str, str]) -> ObjectStoreSource:
    folder = Path("/nowhere")
    access = Access(credentials=credentials, pvc_dir=folder, configmap_dir=folder, stall_seconds=1, timeout_seconds=1)
    return ObjectStoreSource(parse_uri("s3://models/churn.onnx"), access)


@pytest.fixture(autouse=True)
def client_that_found_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail as the client does when no metadata server of a cloud answers."""

    def head(*_: object) -> None:
        raise GenericError("Generic S3 error: error sending request")

    monkeypatch.setattr(obstore, "head", head)


def test_without_credentials_the_secret_is_named_as_the_thing_to_check() -> None:
    with pytest.raises(ModelForbidden, match=r"there are no credentials.*credentialsSecretRef"):
        source({}).files()


def test_with_credentials_the_store_is_in_trouble() -> None:
    with pytest.raises(StoreUnavailable):
        source({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}).files()
