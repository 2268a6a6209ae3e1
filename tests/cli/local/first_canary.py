"""From nothing to an update by canary and a rejected one, as a newcomer gets there; every answer is checked.

Run by the Python of the environment that holds ``mep``; prints one JSON document. Standard library only, and what the
demo itself has written: the answers of versions 1 and 2 are taken from endpoints that serve only one of them.
"""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

REQUESTS = 500
ROWS = Path("rows.csv")


def main(folder: str) -> None:
    mep = str(Path(sys.executable).with_name("mep"))
    began = time.monotonic()
    subprocess.run([mep, "demo", folder], check=True, stdout=subprocess.DEVNULL)
    with Endpoint(mep, Path(folder)) as endpoint:
        endpoint.wait(lambda: endpoint.reason() == "Serving")
        first = endpoint.predict()
        seconds = {"first prediction": time.monotonic() - began}

        endpoint.change("v1.onnx", "v2.onnx")
        began = time.monotonic()
        answers = [endpoint.predict() for _ in range(REQUESTS)]
        endpoint.wait(lambda: answers.append(endpoint.predict()) or answers[-1][0] == "2")  # type: ignore[func-returns-value]
        seconds["first request of the candidate, at the latest"] = time.monotonic() - began
        endpoint.wait(lambda: answers.append(endpoint.predict()) or endpoint.reason() == "Serving")  # type: ignore[func-returns-value]
        second = endpoint.predict()

        endpoint.change("v2.onnx", "v3.onnx")
        began = time.monotonic()
        endpoint.wait(lambda: endpoint.reason() == "GoldenExamplesFailed")
        seconds["rejected"] = time.monotonic() - began
        still = endpoint.predict()
    right = {first, second}
    print(
        json.dumps(
            {
                "seconds": seconds,
                "counted": Counter(revision for revision, _ in answers),
                "wrong": sum(answer not in right for answer in answers),
                "revisions": [first[0], second[0], still[0]],
                "code": endpoint.code,
                "left": sorted(entry.name for entry in Path(folder).iterdir()),
            }
        )
    )


class Endpoint:
    """``mep local up`` in the folder of the demo."""

    def __init__(self, mep: str, folder: Path) -> None:
        self._mep, self._folder = mep, folder
        self.code: int | None = None

    def __enter__(self) -> Self:
        words = [self._mep, "local", "up", "endpoint.yaml", "--watch", "-o", "json"]
        self._process = subprocess.Popen(words, cwd=self._folder, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self.code = self._process.wait(30)

    def get(self) -> dict[str, Any]:
        """Read the endpoint; empty before the instance can be asked."""
        words = [self._mep, "get", "wine", "-o", "json"]
        done = subprocess.run(words, cwd=self._folder, capture_output=True, text=True, check=False)
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    def reason(self) -> str:
        conditions = self.get().get("status", {}).get("conditions", [])
        return next((str(told["reason"]) for told in conditions if told["type"] == "Ready"), "")

    def predict(self) -> tuple[str, str]:
        """Send the demo's rows; return the revision that has answered, and its answer."""
        request = urllib.request.Request(
            "http://127.0.0.1:8080/predict",
            data=(self._folder / ROWS).read_bytes(),
            headers={"Content-Type": "text/csv"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.headers["x-model-revision"], answer.read().decode()

    def change(self, old: str, new: str) -> None:
        path = self._folder / "endpoint.yaml"
        path.write_text(
            path.read_text().replace(f"models/{old}", f"models/{new}").replace("holdSeconds: 10", "holdSeconds: 2")
        )

    def wait(self, fact: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not fact():
            if time.monotonic() > deadline:
                raise TimeoutError(json.dumps(self.get(), indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
