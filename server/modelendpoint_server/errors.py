"""Everything that can go wrong, as exceptions. No HTTP codes here: ``routes.errors`` has the one table.

::

    ServerError
    ├── InvalidSettings           the environment is wrong; the process does not start
    ├── InvalidFrame              what came to the monitor is from no model server
    ├── InvalidProfile            the reference of drift can't be read, or not be made
    ├── ModelError                the model can't be had or can't be used; shown in the report
    │   ├── ModelNotFound, ModelForbidden, StoreUnavailable       may heal by itself
    │   └── InvalidUri, DigestMismatch, ModelInvalid, ModelUnsafe, ModelTooLarge, GoldenExamplesFailed,
    │       InternalError
    └── RequestError              one request can't be answered
        ├── InvalidRequest, UnknownModel, UnsupportedMediaType, NotAcceptable, BodyTooLarge   the client's mistake
        └── ModelNotReady, Overloaded, DeadlineExceeded, InferenceFailed                      ours, or the model's
"""


class ServerError(Exception):
    """Base of all our errors; its text is a sentence for people and ends with the next step."""


class InvalidSettings(ServerError):
    """The environment asks for something that does not exist."""


class InvalidProfile(ServerError):
    """The reference profile can't be read, or not be made of what was given."""


class ModelError(ServerError):
    """The model can't be had or can't be used. The class's name is the reason in the report."""

    may_heal = False
    """Whether it may be over soon, without anyone changing the declaration; then it is tried again early."""
    retry_after_seconds: float = 60.0
    """The longest time until it is tried again."""


class ModelNotFound(ModelError):
    """Nothing is at the URI."""

    may_heal = True
    retry_after_seconds = 30.0


class ModelForbidden(ModelError):
    """The store refuses the credentials."""

    may_heal = True
    retry_after_seconds = 30.0


class StoreUnavailable(ModelError):
    """The store does not answer, or answers with trouble of its own."""

    may_heal = True
    retry_after_seconds = 30.0


class InvalidUri(ModelError):
    """The URI can't be understood."""


class DigestMismatch(ModelError):
    """The bytes are not the ones that were asked for."""


class ModelInvalid(ModelError):
    """ONNX Runtime can't load or run the model."""


class ModelUnsafe(ModelError):
    """The artifact reaches outside its own folder."""


class ModelTooLarge(ModelError):
    """The artifact is over a limit, or does not fit on disk or in memory."""


class GoldenExamplesFailed(ModelError):
    """The model does not reproduce its golden examples."""


class InternalError(ModelError):
    """The server has a bug."""


class RequestError(ServerError):
    """One request can't be answered. The class's name is the code in the answer."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        """The input tensor, column, header or key that the message is about."""


class InvalidRequest(RequestError):
    """The request does not fit the protocol or the model's signature."""


class UnknownModel(RequestError):
    """Another model, or another version of it, was asked for."""


class UnsupportedMediaType(RequestError):
    """The body's content type or encoding is not one that we read."""


class NotAcceptable(RequestError):
    """The client accepts no content type that we write."""


class BodyTooLarge(RequestError):
    """The body is over the limit."""


class ModelNotReady(RequestError):
    """The model is not loaded (yet)."""


class Overloaded(RequestError):
    """Too many requests wait already."""


class DeadlineExceeded(RequestError):
    """The prediction took longer than allowed and was stopped."""


class InferenceFailed(RequestError):
    """The model failed while it ran."""


class InvalidFrame(ServerError):
    """What came over a connection to the monitor is not what a model server sends."""
