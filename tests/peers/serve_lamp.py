"""Run by itself: `python serve_lamp.py ADDRESS PIXELS` is a lamp's HTTP side on port 80, until it is ended."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from udprism.wire.lamp import Json, Lamp, answer, change


class Handler(BaseHTTPRequestHandler):
    """One request."""

    lamp: Lamp

    def do_GET(self) -> None:
        body = answer(Handler.lamp, self.path)
        self._say(404 if body is None else 200, {"error": 4} if body is None else body)

    def do_POST(self) -> None:
        try:
            Handler.lamp, body = change(Handler.lamp, self.rfile.read(int(self.headers["Content-Length"])))
        except ValueError:
            self._say(400, {"error": 9})
        else:
            self._say(200, body)

    def _say(self, status: int, body: Json) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *words: object) -> None:
        print(f'"{self.command} {self.path}"', flush=True)


if __name__ == "__main__":
    address, pixels = sys.argv[1:]
    Handler.lamp = Lamp("desk", address, bytes.fromhex("0242ac110002"), int(pixels), uptime_s=7)
    server = HTTPServer((address, 80), Handler)
    print('"ready"', flush=True)
    server.serve_forever()
