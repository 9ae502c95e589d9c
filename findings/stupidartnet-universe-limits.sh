#!/usr/bin/env bash
# stupidArtnet 1.6.0: the constructor takes any universe of 16 bits, the setter silently limits to 255: set_universe(300)
# goes on sending to universe 255. And the header, its number included, is only made anew by setters: the number is 0 until
# the first one, and afterwards for ever what the count was then.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"; "$folder/v/bin/pip" install -q --disable-pip-version-check stupidArtnet==1.6.0
"$folder/v/bin/python" - <<'PY'
import importlib.metadata, socket
from stupidArtnet import StupidArtnet

print("stupidArtnet", importlib.metadata.version("stupidArtnet"))
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 0))
sock.settimeout(5)

def sent(sender):
    sender.show()
    data = sock.recv(1024)
    return int.from_bytes(data[14:16], "little"), data[12]

sender = StupidArtnet("127.0.0.1", universe=300, packet_size=2, port=sock.getsockname()[1])
made = [sent(sender) for _ in range(5)]
sender.set_universe(300)
limited = [sent(sender) for _ in range(5)]
print("universe, number after StupidArtnet(universe=300):", made)
print("universe, number after set_universe(300):         ", limited)
assert made == [(300, 0)] * 5
assert limited == [(255, 5)] * 5
PY
