"""Options of the whole test suite. Fixtures must not be here."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of ``make golden``."""
    parser.addoption("--golden", action="store_true", help="rewrite what the golden cases expect")
