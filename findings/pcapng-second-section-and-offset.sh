#!/usr/bin/env bash
# A pcapng file may have several sections, each with interfaces of its own, and an interface may shift its times by
# if_tsoffset. scapy gives the packets of a second section the first one's interface, and neither scapy nor python-pcapng
# adds the offset, so their times are off by it: both without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check scapy==2.8.0 python-pcapng==2.1.1 2>/dev/null
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import logging
import struct
import sys

logging.disable(logging.WARNING)
import pcapng
import scapy
from scapy.all import PcapNgReader

OFFSET_S = 1_000


def block(kind, body):
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def option(code, value):
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(name, offset_s=0):
    packet = bytes(12) + b"\x08\x00" + bytes(46)
    options = option(2, name) + option(9, b"\x09")  # nanoseconds
    options += option(14, struct.pack("<q", offset_s)) if offset_s else b""
    return (
        block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        + block(1, struct.pack("<HHI", 1, 0, 0) + options + bytes(4))
        + block(6, struct.pack("<IIIII", 0, 0, 7, len(packet), len(packet)) + packet)
    )


path = sys.argv[1] + "/file.pcapng"
with open(path, "wb") as file:
    file.write(section(b"first") + section(b"second") + section(b"third", OFFSET_S))

by_scapy = [(packet.sniffed_on, int(packet.time * 10**9)) for packet in PcapNgReader(path)]
with open(path, "rb") as file:
    blocks = [one for one in pcapng.FileScanner(file) if isinstance(one, pcapng.blocks.EnhancedPacket)]
by_pcapng = [(one.interface.options["if_name"], round(one.timestamp * 10**9)) for one in blocks]
print("in the file:         [('first', 7), ('second', 7), ('third', 1000000000007)]")
print(f"scapy {scapy.__version__}:         {by_scapy}")
print(f"python-pcapng 2.1.1: {by_pcapng}")
assert by_scapy == [("first", 7)] * 3, "scapy's behaviour has changed"
assert by_pcapng == [("first", 7), ("second", 7), ("third", 7)], "python-pcapng's behaviour has changed"
PYTHON
