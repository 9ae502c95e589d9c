#!/usr/bin/env bash
# PyPI sacn 1.11.0: stop() sends no goodbye; only deactivate_output() sends E1.31's three Stream_Terminated packets. So what
# a program shows last stays on for a receiver's 2.5 s after stop(). And flush() to a unicast destination names universe
# 63,999 for synchronisation in the data, while the synchronisation packet itself goes to that universe's multicast group.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"; "$folder/v/bin/pip" install -q --disable-pip-version-check sacn==1.11.0
"$folder/v/bin/python" - <<'PY'
import importlib.metadata, time
from sacn import sACNsender
from sacn.sending.sender_socket_base import SenderSocketBase

class Recorder(SenderSocketBase):
    """What would be sent, and where to."""
    def __init__(self): self.sent = []
    def start(self): pass
    def stop(self): pass
    def send_unicast(self, data, destination): self.sent.append((destination, bytes(data.getBytes())))
    def send_multicast(self, data, destination, ttl): self.sent.append((destination, bytes(data.getBytes())))
    def send_broadcast(self, data): pass

print("sacn", importlib.metadata.version("sacn"))
recorder = Recorder()
sender = sACNsender(universeDiscovery=False, socket=recorder)
sender.activate_output(1)
sender[1].destination = "192.0.2.1"
sender.flush()
(unicast, data), (group, sync) = recorder.sent
print(f"flush: data to {unicast} names sync universe {int.from_bytes(data[109:111], 'big')}; sync packet to {group}")
assert unicast == "192.0.2.1" and data[109:111] == (63_999).to_bytes(2, "big")
assert group == "239.255.249.255" and int.from_bytes(sync[18:22], "big") == 8
recorder.sent.clear()
sender.stop()
print("packets from stop():", len(recorder.sent))
assert not recorder.sent
sender.deactivate_output(1)
ends = [data[112] & 0x40 for _, data in recorder.sent]
print("packets from deactivate_output():", len(ends), "with Stream_Terminated:", sum(map(bool, ends)))
assert ends == [0x40] * 3
PY
