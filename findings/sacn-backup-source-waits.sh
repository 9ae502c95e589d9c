#!/usr/bin/env bash
# PyPI sacn 1.11.0, receiver: sequence numbers are kept per universe and not per source. E1.31-2018 section 6.7.2 compares
# numbers of one source, and section 6.2.3 lets the source with the higher priority win. Here a backup desk with priority 200
# takes over from one with 100, and its numbers happen to be 10 behind: while they catch up, nothing is taken at all: the
# priority rules out the desk, the number the backup. Up to 19 frames, half a second at 40 a second, of a frozen picture.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"; "$folder/v/bin/pip" install -q --disable-pip-version-check sacn==1.11.0
"$folder/v/bin/python" - <<'PY'
import importlib.metadata, time
import sacn
from sacn.messages.data_packet import DataPacket
from sacn.receiving.receiver_handler import ReceiverHandler, ReceiverHandlerListener

class Heard(ReceiverHandlerListener):
    def __init__(self): self.first = []
    def on_availability_change(self, universe, changed): pass
    def on_dmx_data_change(self, packet): self.first.append((packet.sourceName, packet.dmxData[0]))

class NoSocket:  # the handler is asked directly: no network is needed
    def start(self): pass
    def stop(self): pass

def packet(name, cid, priority, number, level):
    return bytes(DataPacket(cid=(cid,) * 16, sourceName=name, universe=1, priority=priority, sequence=number,
                            dmxData=(level,)).getBytes())

print("sacn", importlib.metadata.version("sacn"))
heard = Heard()
handler = ReceiverHandler("127.0.0.1", 5568, heard, NoSocket())
taken = []
for step in range(20):
    before = len(heard.first)
    handler.on_data(packet("desk", 1, 100, 100 + step, step), step * 0.025)
    handler.on_data(packet("backup", 2, 200, 90 + step, 255 - step), step * 0.025 + 0.01)
    taken.append([name for name, _ in heard.first[before:]])
print("taken, step by step:", *(" and ".join(names) or "-" for names in taken))
assert taken == [["desk"], *[[]] * 10, *[["backup"]] * 9]
PY
