"""What can go wrong in a batch run, apart from the model's own errors. The class's name is the reason that is reported.

::

    BatchError
    ├── Permanent      InvalidBatch, InputNotFound, InputForbidden, InvalidInput, InputChanged, MissingColumn,
    │                  OutputForbidden, OutputInUse, ErrorThresholdExceeded, ModelsDiffer
    └── Passing        Stopped, StorageFull, OutOfMemory, Incomplete
"""

from modelendpoint_server.errors import ServerError


class BatchError(ServerError):
    """Base of these errors; its text is a sentence for people and ends with the next step."""


class Permanent(BatchError):
    """No retry changes it."""


class Passing(BatchError):
    """A retry may well succeed."""


class InvalidBatch(Permanent):
    """The declaration of the run does not fit, or does not fit the model."""


class InputNotFound(Permanent):
    """Nothing is at the input's URI."""


class InputForbidden(Permanent):
    """The input's store refuses the credentials."""


class InvalidInput(Permanent):
    """The input is not what its format says."""


class InputChanged(Permanent):
    """A file of the input was replaced after the plan was made."""


class MissingColumn(Permanent):
    """The input has no column for something that the model takes."""


class ModelsDiffer(Permanent):
    """The model that is compared with can take the input, or give the outputs, and this one takes or gives others."""


class OutputForbidden(Permanent):
    """The output's store refuses the credentials."""


class OutputInUse(Permanent):
    """The output holds the result of another run."""


class ErrorThresholdExceeded(Permanent):
    """More rows were rejected than the run allows."""


class Stopped(Passing):
    """The pod was told to end."""


class StorageFull(Passing):
    """The pod's own disk has no more room."""


class OutOfMemory(Passing):
    """The worker needs more memory than it has."""


class Incomplete(Passing):
    """Some shards are not committed yet."""
