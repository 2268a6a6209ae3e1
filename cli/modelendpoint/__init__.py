"""The command ``mep``: tools for models, and endpoints on a laptop.

::

    commands/   one module for each command: options in, engine called, result printed; nothing is computed here
    output      how results look: tables for people, JSON and YAML for scripts
    errors      what ends a command, and with which exit code

Everything else is an engine: it takes values, returns frozen ones, prints nothing and knows no click. The operator and
the server are used as they are; neither of them knows this package.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("modelendpoint")
except PackageNotFoundError:  # a checkout that nobody has installed
    __version__ = "0+unknown"
