#!/usr/bin/env bash
# Guess: real-time frames over UDP that need several datagrams say which frame a piece is of. Seen otherwise: PyPI xled
# 0.7.0 (Twinkly lights, real-time protocol version 3) gives each piece of 900 bytes its place in the frame and nothing
# else, so a receiver cannot tell loss, doubles or order: pieces of two frames mix unseen, and a still picture is the same
# datagrams for ever. Version 1 has one byte for the number of LEDs, so a string of 300 raises; version 2 has no place at all.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"; "$folder/v/bin/pip" install -q --disable-pip-version-check xled==0.7.0
"$folder/v/bin/python" - <<'PY'
import base64, importlib.metadata, io, struct
from types import SimpleNamespace

from xled.control import HighControlInterface

print("xled", importlib.metadata.version("xled"))
TOKEN = bytes(range(8))


class Recorder:
    """What would be sent."""

    def __init__(self):
        self.sent = []

    def send(self, data):
        self.sent.append(bytes(data))


def sent_by(version, *frames, leds=None):
    recorder = Recorder()
    light = HighControlInterface.__new__(HighControlInterface)
    light._udpclient = recorder
    light._session = SimpleNamespace(access_token=base64.b64encode(TOKEN).decode())
    for frame in frames:
        light.set_rt_frame_socket(io.BytesIO(frame), version, leds)
    return recorder.sent


red, blue = b"\xff\0\0" * 400, b"\0\0\xff" * 400
pieces = sent_by(3, red, blue, red)
print("version 3, three frames of 400 LEDs:", len(pieces), "datagrams; headers:", sorted({p[9:12].hex() for p in pieces}))
assert [len(piece) for piece in pieces] == [912, 312] * 3
assert {piece[:12] for piece in pieces} == {b"\x03" + TOKEN + b"\0\0" + bytes([n]) for n in (0, 1)}
assert pieces[:2] == pieces[4:]
print("first and third frame in the same bytes: True")
try:
    sent_by(1, b"\xff\0\0" * 300, leds=300)
except struct.error as error:
    print("version 1, 300 LEDs:", error)
else:
    raise SystemExit("version 1 takes 300 LEDs now")
(whole,) = sent_by(2, b"\xff\0\0" * 600)
print("version 2, 600 LEDs: one datagram of", len(whole), "bytes")
assert len(whole) == 10 + 1800
PY
