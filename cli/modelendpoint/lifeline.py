"""Ends the processes of this one when it is killed and can't do so itself. Which processes those are must not be here.

A shell waits at a pipe whose other end only this process has open: the kernel closes it, however this process ends, on Linux
and macOS alike. The shell is no child of what it ends and needs nothing of what was killed.
"""

import subprocess
from pathlib import Path

_WAIT_AND_KILL = 'read -r _; for file in "$0"/*/pid; do read -r group < "$file" && kill -s KILL -- "-$group"; done'


class Lifeline:
    """Watches over the process groups whose numbers are in ``<folder>/*/pid``, as they are at the end."""

    def __init__(self, folder: Path) -> None:
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _WAIT_AND_KILL, str(folder)],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A key that is pressed in the terminal must not reach it.
            start_new_session=True,
        )

    def close(self) -> None:
        """Let everything live that still does: whoever calls this sees to it."""
        # First the shell, then the pipe: it must not take this for the end.
        self._guard.kill()
        self._guard.wait()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
