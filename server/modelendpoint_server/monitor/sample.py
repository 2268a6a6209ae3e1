"""One sampled request with its answer, decoded: what windows count and captures store. Data only."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

Column = NDArray[Any]
"""One entry a row along the first dimension: numbers, booleans, or objects (``str``). Has more dimensions where a row of
the tensor is more than one value and the model does not name its columns, as for images and embeddings."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A request that was answered with predictions. All columns have the same number of rows, at least one."""

    revision: str
    variant: str
    """Name of the variant or shadow that answered; empty for the endpoint's own model."""
    sha256: str
    """Digest of the model that answered."""
    time: float
    """When it was answered, in seconds since 1970, by the server's clock."""
    request_id: str
    rows: int
    inputs: Mapping[str, Column]
    """By the model's names: of its columns (``feature_names``) where it has them, else of its inputs."""
    outputs: Mapping[str, Column]
    """By the model's names; a map (as scikit-learn's classifiers give) is one column a key, ``<output>_<key>``. Only the
    outputs that were asked for."""
