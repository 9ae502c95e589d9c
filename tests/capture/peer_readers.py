"""Run by the peers' own interpreter: `peer_readers.py LIBRARY FILE` prints a JSON list [time in ns, payload] each.

python-pcapng adds the interface's name and the comment, scapy the name of the interface that it saw.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def dpkt_reader(path: str) -> list[list[Any]]:
    import dpkt

    with open(path, "rb") as file:
        return [[round(time_s * 10**9), _dpkt_payload(data)] for time_s, data in dpkt.pcap.UniversalReader(file)]


def _dpkt_payload(data: bytes) -> str:
    import dpkt

    payload: str = dpkt.ethernet.Ethernet(data).data.data.data.hex()
    return payload


def scapy_reader(path: str) -> list[list[Any]]:
    from scapy.all import UDP, PcapReader

    with PcapReader(path) as reader:
        return [[int(one.time * 10**9), bytes(one[UDP].payload).hex(), one.sniffed_on] for one in reader]


def pcapng_reader(path: str) -> list[list[Any]]:
    import pcapng

    with open(path, "rb") as file:
        return [
            [
                (block.timestamp_high << 32) | block.timestamp_low,
                _dpkt_payload(block.packet_data),
                block.interface.options.get("if_name"),
                block.options.get("opt_comment"),
            ]
            for block in pcapng.FileScanner(file)
            if isinstance(block, pcapng.blocks.EnhancedPacket)
        ]


READERS = {"dpkt": dpkt_reader, "scapy": scapy_reader, "pcapng": pcapng_reader}

if __name__ == "__main__":
    print(json.dumps(READERS[sys.argv[1]](sys.argv[2])))
