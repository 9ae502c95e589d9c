#!/usr/bin/env bash
# pyartnet 2.0, sACN by multicast: the group of a universe is computed with 255 in place of 256, so universe 255 and above
# go to a group that no E1.31 receiver has joined. E1.31-2018 section 9.3.1: 239.255.(high byte).(low byte).
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"; "$folder/v/bin/pip" install -q --disable-pip-version-check pyartnet==2.0 sacn==1.11.0
"$folder/v/bin/python" - <<'PY'
import asyncio, importlib.metadata
import pyartnet
from sacn.messages.data_packet import calculate_multicast_addr

async def groups():
    node = pyartnet.SacnNode.create_multicast("127.0.0.1")
    async with node:
        return {universe: node._get_universe_ip_port(universe)[0] for universe in (1, 254, 255, 256, 510, 1000)}

print("pyartnet", importlib.metadata.version("pyartnet"))
found = asyncio.run(groups())
for universe, group in found.items():
    print(f"universe {universe}: pyartnet {group}, E1.31 239.255.{universe >> 8}.{universe & 255}")
    assert calculate_multicast_addr(universe) == f"239.255.{universe >> 8}.{universe & 255}"
assert found[254] == "239.255.0.254"
assert found[255] == "239.255.1.0", "E1.31's group of universe 256"
assert found[1000] == "239.255.3.235", "E1.31's group of universe 1003"
PY
