#!/usr/bin/env bash
# Three receivers and the end of an 8-bit cycle. A frame that comes two places late (…, 254, 255, then 0 or 1, then 253) is old.
# PyPI sacn 1.11.0 and npartnet 0.2.0 take it as the newest and show it; npm sacn 4.6.2 refuses a *timely* frame instead: when
# the frame with number 255 is lost, the next one (0 after 254) is "significantly out of order" and is dropped.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"
"$folder/v/bin/pip" install -q --disable-pip-version-check sacn==1.11.0 npartnet==0.2.0 numpy==2.4.6
npm install --prefix "$folder" --no-audit --no-fund --silent sacn@4.6.2
"$folder/v/bin/python" - <<'PY'
import importlib.metadata, socket, time
from npArtNet import ArtnetServer
from sacn.messages.data_packet import DataPacket
from sacn.receiving.receiver_handler import ReceiverHandler, ReceiverHandlerListener

class Heard(ReceiverHandlerListener):
    def __init__(self): self.level = []
    def on_availability_change(self, universe, changed): pass
    def on_dmx_data_change(self, packet): self.level.append(packet.dmxData[0])

class NoSocket:
    def start(self): pass
    def stop(self): pass

print("sacn (PyPI)", importlib.metadata.version("sacn"))
heard = Heard()
handler = ReceiverHandler("127.0.0.1", 5568, heard, NoSocket())
for number in (254, 255, 0, 253):
    data = DataPacket(cid=(1,) * 16, sourceName="desk", universe=1, sequence=number, dmxData=(number,))
    handler.on_data(bytes(data.getBytes()), 0.0)
print("  shows in turn:", heard.level)
assert heard.level == [254, 255, 0, 253]

print("npartnet", importlib.metadata.version("npartnet"))
free = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); free.bind(("127.0.0.1", 0)); port = free.getsockname()[1]; free.close()
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
shown = []
with ArtnetServer(universes=[0], host="127.0.0.1", port=port) as server:
    for number in (254, 255, 1, 253):
        sock.sendto(b"Art-Net\0\0\x50\0\x0e" + bytes((number, 0, 0, 0, 0, 2, number, 0)), ("127.0.0.1", port))
        time.sleep(0.2)
        shown.append(int(server.get_matrix()[0, 0]))
print("  shows in turn:", shown)
assert shown == [254, 255, 1, 253]
PY
cd "$folder"
cat > run.js <<'JS'
const { Receiver, Packet } = require('sacn');
const dgram = require('dgram');
console.log('sacn (npm) 4.6.2');
const port = 15568 + (process.pid % 10000);
const receiver = new Receiver({ universes: [], port });
receiver.universes.push(1); // without joining its group: the packets come by unicast
const heard = [];
receiver.on('packet', (packet) => heard.push(packet.sequence));
receiver.on('PacketOutOfOrder', (error) => heard.push(error.message.match(/\((.*)\)/)[1]));
const socket = dgram.createSocket('udp4');
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {
  await pause(200);
  for (const sequence of [253, 254, 0, 1]) {
    socket.send(new Packet({ universe: 1, sequence, payload: { 1: 100 } }).buffer, port, '127.0.0.1');
    await pause(50);
  }
  console.log('  hears:', JSON.stringify(heard));
  process.exit(JSON.stringify(heard) === JSON.stringify([253, 254, '254 -> 0', 1]) ? 0 : 1);
})();
JS
node run.js
