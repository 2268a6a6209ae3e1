"""``make demo``: read the options, tell the story, end with 1 when it did not go as it should."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.story import Story
from demo.terminal import DemoFailed, Terminal

CHECKOUT = Path(__file__).parents[2]


def main(arguments: Sequence[str]) -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--name", default="demo", help="name of the cluster (default: demo)")
    parser.add_argument(
        "--kind",
        choices=["node", "kind", "current"],
        default=os.environ.get("CLUSTER") or None,
        help="kind of the cluster (default: what this machine can do)",
    )
    options = parser.parse_args(arguments)
    cache = Path(os.environ.get("MODELENDPOINT_CACHE") or Path.home() / ".cache" / "modelendpoint")
    folder = cache / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    terminal = Terminal(environment=os.environ, folder=CHECKOUT)
    try:
        Story(terminal=terminal, cluster=options.name, kind=options.kind, folder=folder).tell()
    except (DemoFailed, AssertionError) as error:
        terminal.fail(f"{error}\n  `make demo` again goes on from here.")
        return 1
    except KeyboardInterrupt:
        terminal.fail("Interrupted. `make demo` again goes on from here; `make down` removes the cluster.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
