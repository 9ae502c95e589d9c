#!/usr/bin/env bash
# PyPI sacn 1.11.0: its own per-address priorities (start code 0xDD) arrive in the universe callback like levels. A callback
# that reads packet.dmxData, as the README's example does, shows the priorities as light in every second call.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"; "$folder/v/bin/pip" install -q --disable-pip-version-check sacn==1.11.0
"$folder/v/bin/python" - <<'PY'
import importlib.metadata
from sacn import sACNsender
from sacn.receiving.receiver_handler import ReceiverHandler, ReceiverHandlerListener
from sacn.sending.sender_socket_base import SenderSocketBase

class Heard(ReceiverHandlerListener):
    """What sACNreceiver's callbacks are called with."""
    def __init__(self): self.packets = []
    def on_availability_change(self, universe, changed): pass
    def on_dmx_data_change(self, packet): self.packets.append((packet.dmxStartCode, packet.dmxData[:3]))

class Cable(SenderSocketBase):
    """The sender's socket, joined to the receiver: no network is needed."""
    def __init__(self, handler): self.handler = handler
    def start(self): pass
    def stop(self): pass
    def send_unicast(self, data, destination): self.handler.on_data(list(data.getBytes()), 0.0)
    def send_multicast(self, data, destination, ttl): pass  # flush's synchronisation
    def send_broadcast(self, data): pass

print("sacn", importlib.metadata.version("sacn"))
heard = Heard()
handler = ReceiverHandler("127.0.0.1", 5568, heard, Cable(None))
sender = sACNsender(universeDiscovery=False, socket=Cable(handler))
sender.activate_output(1)
sender[1].per_address_priority = (100,) * 512
for level in range(5):
    sender[1].dmx_data = (1, 2, level)
    sender.flush()
for start_code, data in heard.packets:
    print(f"start code {start_code:#04x}: {data}")
assert [code for code, _ in heard.packets] == [0xDD, 0] * 5
assert {data for code, data in heard.packets if code} == {(100, 100, 100)}
PY
