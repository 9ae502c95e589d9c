"""All of LedFx: it is told a lamp's address, asks the lamp what it is, and shows one colour on it until it is ended."""

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PAGE = "http://127.0.0.1:8888/api"
DEADLINE_S = 90
target, colour = sys.argv[1:]


def ask(path: str, body: object = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(PAGE + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        return json.load(answer)


def begun() -> dict:
    until_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            return ask("/info")
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > until_s:
                raise
            time.sleep(0.2)


with tempfile.TemporaryDirectory() as home:
    ledfx = Path(sys.executable).with_name("ledfx")
    words = [ledfx, "--offline", "-c", home, "--host", "127.0.0.1", "-p", "8888"]
    with subprocess.Popen(words, env={"HOME": home, "PATH": "/usr/bin:/bin"}, stderr=subprocess.DEVNULL) as process:
        try:
            version = begun()["version"]
            made = ask("/devices", {"type": "wled", "config": {"ip_address": target, "name": "desk"}})
            (virtual,) = ask("/virtuals")["virtuals"]
            ask(f"/virtuals/{virtual}/effects", {"type": "singleColor", "config": {"color": colour}})
            config = made["device"]["config"]
            said = {
                "version": version,
                "virtual": virtual,
                "pixels": config["pixel_count"],
                "mode": config["sync_mode"],
            }
            print(json.dumps(said), flush=True)
            sys.stdin.read()
        finally:
            process.kill()
