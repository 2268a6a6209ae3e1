"""Errors of the operator, by who can mend them.

::

    OperatorError
    ├── ClusterUnavailable   the world's trouble: tried again with back-off
    ├── NamespaceEnding      nothing can be created there any more, and nothing needs to be: left alone
    ├── WriteRefused         the API server refuses an object of ours: reported in the status
    └── ForeignObject        an object of that name belongs to somebody else: reported in the status, never touched

A bug of ours is none of these: it propagates, is counted, and its traceback is logged.
"""


class OperatorError(Exception):
    """Base of every error that the operator expects."""


class ClusterUnavailable(OperatorError):
    """The API server did not answer, was overloaded, or answered that somebody else was quicker."""


class NamespaceEnding(OperatorError):
    """The namespace is being deleted, and everything in it."""


class WriteRefused(OperatorError):
    """The API server refused an object: a quota, an admission policy, or a value that it does not accept."""

    def __init__(self, subject: str, message: str) -> None:
        super().__init__(f"{subject}: {message}")
        self.subject = subject
        self.message = message


class ForeignObject(OperatorError):
    """An object that the endpoint needs exists already and is not the endpoint's."""

    def __init__(self, subject: str) -> None:
        super().__init__(subject)
        self.subject = subject
