"""The BatchPrediction by which a replay gate compares two revisions on recorded rows. Judging it must not be here."""

from typing import Any

from modelendpoint_operator import names
from modelendpoint_operator.api.batch import (
    BatchPredictionSpec,
    Comparison,
    EndpointReference,
    ErrorThreshold,
    Input,
    Output,
)
from modelendpoint_operator.api.data import Columns
from modelendpoint_operator.api.endpoint import ModelEndpoint
from modelendpoint_operator.api.gates import ReplayGate
from modelendpoint_operator.manifests.metadata import build_metadata
from modelendpoint_operator.observation import RevisionRecord


def build_replay(
    endpoint: ModelEndpoint, gate: ReplayGate, *, name: str, candidate: RevisionRecord, stable: int
) -> dict[str, Any]:
    """Build the run. It has no label of a revision: by those an endpoint's pods, and what belongs to them, are known."""
    metadata = build_metadata(endpoint, name=name, component=names.COMPONENT_BATCH)
    metadata["labels"][names.LABEL_GATE] = gate.name
    spec = BatchPredictionSpec(
        endpoint_ref=EndpointReference(name=endpoint.name, revision=candidate.number),
        input=Input(**gate.input.model_dump()),
        output=Output(**gate.output.model_dump() | {"uri": f"{gate.output.uri.rstrip('/')}/{name}/"}),
        columns=gate.columns or Columns(),
        compare_with=Comparison(
            revision=stable,
            absolute_tolerance=gate.absolute_tolerance,
            relative_tolerance=gate.relative_tolerance,
        ),
        parallelism=gate.parallelism,
        # A row that the candidate can't predict is a disagreement; how many there may be is for the gate to judge.
        error_threshold=ErrorThreshold(percent=100),
        # The rows may be where only this identity may read. Whoever writes the gate must be allowed to use it.
        service_account_name=candidate.template.model.service_account_name,
        resources=gate.resources,
    )
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.BATCH_KIND,
        "metadata": metadata,
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
