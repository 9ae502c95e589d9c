#!/usr/bin/env bash
# aioartnet 0.2.1: a node that changes its name is entered as a new subscriber and never taken off as the old one, so each
# frame is sent to it once more for each name that it ever had. And the port of an ArtPollReply is believed: one in the wrong
# byte order (npm dmxnet 0.9.0 writes 0x1936 big-endian) takes all frames to port 13849.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"; "$folder/v/bin/pip" install -q --disable-pip-version-check aioartnet==0.2.1
npm install --prefix "$folder" --no-audit --no-fund --silent dmxnet@0.9.0
cd "$folder"
cat > reply.js <<'JS'
// dmxnet's own reply, caught before it reaches a socket
const dgram = require('dgram');
dgram.Socket.prototype.bind = function (...words) { const done = words.pop(); if (typeof done === 'function') done(); return this; };
dgram.Socket.prototype.setBroadcast = () => {};
dgram.Socket.prototype.send = function (data) { console.log(Buffer.from(data).toString('hex')); process.exit(0); };
const { dmxnet } = require('dmxnet');
new dmxnet({ log: { level: 'error' } }).newReceiver({ universe: 0 });
JS
reply=$(node reply.js)
"$folder/v/bin/python" - "$reply" <<'PY'
import importlib.metadata, sys
import aioartnet
from aioartnet.client import ArtNetClientProtocol

class Transport:
    def __init__(self): self.sent = []
    def sendto(self, data, addr): self.sent.append((data, addr))

def client():
    made = aioartnet.ArtNetClient(passive=True)
    made.unicast_ip, made.broadcast_ip = "127.0.0.1", "127.255.255.255"
    protocol = ArtNetClientProtocol(made)
    protocol.transport = Transport()
    return made, protocol

def reply(name):
    """A sound ArtPollReply of 239 bytes: universe 0, port 6454 little-endian."""
    data = bytearray(239)
    data[0:10] = b"Art-Net\0\x00\x21"
    data[10:14], data[14:16] = bytes((192, 0, 2, 7)), (6454).to_bytes(2, "little")
    data[44 : 44 + len(name)] = name
    data[173], data[174] = 1, 0x80
    return bytes(data)

print("aioartnet", importlib.metadata.version("aioartnet"))
made, protocol = client()
universe = made.set_port_config(0, is_input=True)
copies = []
for name in (b"lamp", b"lamp", b"lamp in the hall", b"lamp"):
    protocol.datagram_received(reply(name), ("192.0.2.7", 6454))
    protocol.transport.sent.clear()
    made._send_dmx(universe)
    copies.append(len(protocol.transport.sent))
print("copies of each frame after the names lamp, lamp, lamp in the hall, lamp:", copies)
assert copies == [1, 1, 2, 3]

made, protocol = client()
universe = made.set_port_config(0, is_input=True)
data = bytes.fromhex(sys.argv[1])
protocol.datagram_received(data, ("192.0.2.7", 6454))
protocol.transport.sent.clear()
made._send_dmx(universe)
print(f"dmxnet 0.9.0's reply: {len(data)} bytes, port bytes {data[14:16].hex()}; frames go to", protocol.transport.sent[0][1])
assert data[14:16] == b"\x19\x36"
assert protocol.transport.sent[0][1][1] == 13849
PY
