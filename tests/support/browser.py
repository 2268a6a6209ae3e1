"""A real browser without a window: Chromium, driven over the WebDriver protocol.

Both come from Debian's packages; they are installed at the first use where that is possible, and a test fails with the
reason where it is not.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.emulators import free_port, running

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key that WebDriver puts an element's id under."""
_OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,1500"]


class Browser:
    """One session."""

    def __init__(self, driver: str, session: str) -> None:
        self._base = f"{driver}/session/{session}"

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        _call(f"{self._base}/url", {"url": url})

    def text(self, selector: str) -> str:
        """Return the visible text of an element."""
        return str(_call(f"{self._element(selector)}/text"))

    def value(self, selector: str) -> str:
        """Return the value of a form's field."""
        return str(_call(f"{self._element(selector)}/property/value"))

    def type(self, selector: str, text: str) -> None:
        """Replace the text of a form's field."""
        _call(f"{self._element(selector)}/clear", {})
        _call(f"{self._element(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        """Click on an element."""
        _call(f"{self._element(selector)}/click", {})

    def wait_for(self, selector: str, *, text: str, seconds: float = 10) -> None:
        """Wait until an element shows a text."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if text in self.text(selector):
                return
            time.sleep(0.05)
        raise AssertionError(f"{selector} shows {self.text(selector)!r}, not {text!r}")

    def complaints(self) -> list[str]:
        """Return what the page's scripts, and the page's policy, complained of."""
        entries = _call(f"{self._base}/se/log", {"type": "browser"})
        return [str(entry["message"]) for entry in entries if entry["level"] == "SEVERE"]

    def take_picture(self, path: Path) -> None:
        """Save what the window shows."""
        path.write_bytes(base64.b64decode(_call(f"{self._base}/screenshot")))

    def _element(self, selector: str) -> str:
        found = _call(f"{self._base}/element", {"using": "css selector", "value": selector})
        return f"{self._base}/element/{found[_ELEMENT]}"


@contextlib.contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start a browser; it ends with the block."""
    driver, chromium = _find("chromedriver", "chromium-driver"), _find("chromium", "chromium")
    port = free_port()
    with running([driver, f"--port={port}"], port, log=folder / "chromedriver.log"):
        base = f"http://127.0.0.1:{port}"
        options = {"binary": chromium, "args": [*_OPTIONS, f"--user-data-dir={folder / 'profile'}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = _call(f"{base}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        try:
            yield Browser(base, session)
        finally:
            _call(f"{base}/session/{session}", method="DELETE")


def _find(binary: str, package: str) -> str:
    if shutil.which(binary) is None and shutil.which("apt-get") and os.geteuid() == 0:
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package]):
            subprocess.run(command, capture_output=True, check=False, timeout=600)
    found = shutil.which(binary)
    if found is None:
        raise RuntimeError(f"{binary} is not installed, and could not be; on Debian: apt-get install {package}")
    return found


def _call(url: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["value"]
