"""From nothing to a prediction as a newcomer gets there: the two commands, and the first line that they print.

Run by the Python of the environment that holds ``mep``; prints one JSON document. Standard library only.
"""

import json
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def main() -> None:
    mep = str(Path(sys.executable).with_name("mep"))
    started = time.monotonic()
    subprocess.run([mep, "demo", "first"], check=True, stdout=subprocess.DEVNULL)
    server = subprocess.Popen([mep, "serve", "models/v1.onnx"], cwd="first", stdout=subprocess.PIPE, text=True)
    assert server.stdout
    curl = next(line for line in server.stdout if line.startswith("curl "))
    _, url, _, header, _, body = shlex.split(curl)
    name, _, value = header.partition(": ")
    request = urllib.request.Request(url, data=body.encode(), headers={name: value})
    with urllib.request.urlopen(request, timeout=10) as answer:
        predictions = json.load(answer)["predictions"]
    seconds = time.monotonic() - started
    server.send_signal(signal.SIGINT)
    print(json.dumps({"seconds": seconds, "predictions": predictions, "code": server.wait(20), "online": is_online()}))


def is_online() -> bool:
    """Tell whether there is a way out of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    main()
