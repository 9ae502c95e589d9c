"""How fast captures are read as UDP datagrams, beside dpkt and scapy, in turn in one run.

`python tests/bench/capture_reading.py [DATAGRAMS]`, 2,000,000 by default. Each reader yields for each datagram its
time, both addresses, both ports and its payload; "dpkt records" only yields times and packets. Processor time, the best
of three rounds. The peers stop after a part of the file, because they take minutes.
"""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the peers' environments have nothing of ours, and no NumPy

ROUNDS = 3
DPKT_DATAGRAMS, SCAPY_DATAGRAMS = 100_000, 10_000
SIZES = (23, 26, 29, 48, 50, 51, 120)
"""Payloads: colours, reports, texts."""


def write_files(folder: Path, count: int) -> list[Path]:
    """A classic file and a pcapng of the same datagrams."""
    import numpy as np

    from support import captures

    frames = [captures.ethernet(captures.ip4(captures.udp(bytes(size)))) for size in SIZES]
    blocks = [bytearray(captures.enhanced(frame)) for frame in frames]
    which = np.random.default_rng(1).integers(0, len(SIZES), count).tolist()
    classic, modern = folder / "small.pcap", folder / "small.pcapng"
    with classic.open("wb") as old, modern.open("wb") as new:
        old.write(captures.pcap_head())
        new.write(captures.section() + captures.interface(options=captures.option(9, b"\x09")))
        for number, kind in enumerate(which):
            time_ns = 1_700_000_000_000_000_000 + number * 5_000
            seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
            old.write(captures.record(frames[kind], seconds, nanoseconds))
            struct.pack_into("<II", blocks[kind], 12, time_ns >> 32, time_ns & 0xFFFFFFFF)
            new.write(blocks[kind])
    return [classic, modern]


def _udprism(path: str, limit: int) -> Iterator[int]:
    from udprism.capture.datagrams import DatagramReader
    from udprism.udp.mapped_file import mapped

    with mapped(Path(path)) as capture:
        for batch in DatagramReader(capture.data).datagrams():
            yield len(batch)
            capture.forget(int(batch.record_at[0]))


def _dpkt_records(path: str, limit: int) -> Iterator[int]:
    import dpkt

    with open(path, "rb") as file:
        for number, (_time, _data) in enumerate(dpkt.pcap.UniversalReader(file)):
            if number == limit:
                return
            yield 1


def _dpkt(path: str, limit: int) -> Iterator[int]:
    import dpkt

    with open(path, "rb") as file:
        for number, (time_s, data) in enumerate(dpkt.pcap.UniversalReader(file)):
            if number == limit:
                return
            ip = dpkt.ethernet.Ethernet(data).data
            udp = ip.data
            yield len((time_s, ip.src, ip.dst, udp.sport, udp.dport, udp.data)) // 6


def _scapy(path: str, limit: int) -> Iterator[int]:
    from scapy.all import IP, UDP, PcapReader

    with PcapReader(path) as reader:
        for number, packet in enumerate(reader):
            if number == limit:
                return
            ip, udp = packet[IP], packet[UDP]
            yield len((packet.time, ip.src, ip.dst, udp.sport, udp.dport, udp.payload)) // 6


READERS = {
    "udprism": (_udprism, 0),
    "dpkt": (_dpkt, DPKT_DATAGRAMS),
    "dpkt records": (_dpkt_records, DPKT_DATAGRAMS),
    "scapy": (_scapy, SCAPY_DATAGRAMS),
}


def read(name: str, path: str) -> dict[str, Any]:
    """Run one reader in this process."""
    reader, limit = READERS[name]
    for _ in reader(path, 1):  # imports
        break
    begin = time.process_time_ns()
    count = sum(reader(path, limit))
    per_s = count * 1e9 / (time.process_time_ns() - begin)
    return {"datagrams": count, "per_s": per_s, "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}


def measure(count: int) -> dict[str, dict[str, float]]:
    """By format and reader: datagrams a second. In the peers' own environment, each in a process of its own."""
    from support.peers import CAPTURE_READERS, python_with

    peers = python_with(*CAPTURE_READERS)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in write_files(Path(folder), count):
            best: dict[str, float] = dict.fromkeys(READERS, 0.0)
            for _ in range(ROUNDS):
                for name in READERS:
                    python = sys.executable if name == "udprism" else str(peers)
                    words = [python, __file__, "--read", name, str(path)]
                    one = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
                    assert one["datagrams"] == min(count, READERS[name][1] or count)
                    best[name] = max(best[name], one["per_s"])
                    if name == "udprism":
                        best["rss_bytes"] = one["rss_bytes"]
            found[path.suffix] = best
    return found


def main() -> None:
    if sys.argv[1:2] == ["--read"]:
        print(json.dumps(read(*sys.argv[2:])))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    for suffix, best in measure(count).items():
        print(f"{suffix}: {count} datagrams, udprism's peak {best['rss_bytes'] / 2**20:.0f} MiB")
        for name in READERS:
            print(f"  {name:14} {best[name]:12,.0f}/s   udprism is {best['udprism'] / best[name]:7.1f} times as fast")


if __name__ == "__main__":
    main()
