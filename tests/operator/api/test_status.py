"""What the operator writes to status is what the CRD lets it write, and what it reads back the next time."""

from typing import Any

import jsonschema
from hypothesis import given, settings

from modelendpoint_operator.api.crd import MODEL_ENDPOINT, build_schema, schema_at
from modelendpoint_operator.api.status import ModelEndpointStatus
from support.schemas import as_json_schema, valid_values

STATUS = as_json_schema(schema_at(build_schema(MODEL_ENDPOINT), "status"))
VALIDATOR = jsonschema.Draft202012Validator(STATUS)


@settings(max_examples=100, deadline=None)
@given(valid_values(STATUS))
def test_status_survives_the_way_to_the_api_server_and_back(stored: dict[str, Any]) -> None:
    status = ModelEndpointStatus.model_validate(stored)
    written = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    VALIDATOR.validate(written)
    assert ModelEndpointStatus.model_validate(written) == status


def test_status_of_an_unseen_endpoint_parses() -> None:
    assert ModelEndpointStatus.model_validate({"observedGeneration": -1}) == ModelEndpointStatus()
