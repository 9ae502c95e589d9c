#!/usr/bin/env bash
# LedFx 2.2.1: WLED.set_brightness limits with max() twice, so that 10 is sent as 255 and 300 as 300; and what it posts to
# WLED's JSON API is a form ("on=False", "bri=255"), with Python's spelling of false, where the interface is defined as JSON.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"; "$folder/v/bin/pip" install -q --disable-pip-version-check ledfx==2.2.1
"$folder/v/bin/python" - <<'PY'
import asyncio, importlib.metadata, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from ledfx.utils import WLED

print("ledfx", importlib.metadata.version("ledfx"))
heard = []

class Lamp(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        heard.append((self.path, self.headers["Content-Type"], body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *words): pass

server = HTTPServer(("127.0.0.1", 0), Lamp)
threading.Thread(target=server.serve_forever, daemon=True).start()
wled = WLED(f"127.0.0.1:{server.server_port}")

async def ask():
    for brightness in (0, 10, 255, 300):
        await wled.set_brightness(brightness)
    await wled.set_power_state(False)

asyncio.run(ask())
server.shutdown()
for path, kind, body in heard:
    print(path, kind, body)
assert [body for _, _, body in heard] == ["bri=255", "bri=255", "bri=255", "bri=300", "on=False"]
assert {kind for _, kind, _ in heard} == {"application/x-www-form-urlencoded"}
PY
