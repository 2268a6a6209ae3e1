"""Options of the whole test suite. Fixtures must not be here."""

import signal

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of ``make golden``."""
    parser.addoption("--golden", action="store_true", help="rewrite what the golden cases expect")


def pytest_configure() -> None:
    """Let the processes that tests start hear of Ctrl-C, also when this one was started in the background of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
