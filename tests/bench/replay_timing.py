"""How late a replay's datagrams leave: each one's arrival on loopback, by the kernel's stamp, against the file's time.

    python tests/bench/replay_timing.py [--rate 20000] [--seconds 10] [--rounds 3] [--json]

The first datagram sets the clock, so the figure is how far the others are behind it; the earliest one is taken as on
time. The receiver is a process of its own, as the replay is.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.recorded import BASE_NS, Datagram, as_pcapng

SO_TIMESTAMPNS = 35
SILENCE_S = 2.0
PAYLOAD_BYTES = 64


def file_of(path: Path, count: int, rate: float) -> None:
    """Datagrams of one flow, as far apart as the rate says; each begins with its number."""
    times = BASE_NS + (np.arange(count) * 1e9 / rate).astype(np.int64)
    filler = bytes(PAYLOAD_BYTES - 4)
    path.write_bytes(
        as_pcapng(
            [
                Datagram(int(time_ns), ("127.0.0.1", 5000), ("127.0.0.1", 5001), number.to_bytes(4) + filler)
                for number, time_ns in enumerate(times)
            ]
        )
    )


def heard(sock: socket.socket, count: int) -> tuple[list[int], list[int]]:
    """Numbers and stamps, until all have come or it is silent."""
    numbers: list[int] = []
    stamps: list[int] = []
    sock.settimeout(30)
    while len(numbers) < count:
        try:
            data, ancillary, _, _ = sock.recvmsg(2048, 64)
        except TimeoutError:
            break
        sock.settimeout(SILENCE_S)
        seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
        numbers.append(int.from_bytes(data[:4]))
        stamps.append(seconds * 10**9 + nanoseconds)
    return numbers, stamps


def late_ms(path: Path, count: int, rate: float) -> tuple[float, float, int]:
    """p99 and maximum of one replay, and how many did not come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind(("127.0.0.1", 0))
        to = f"127.0.0.1:{sock.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, "-m", "udprism", "replay", str(path), "--to", to], stdout=subprocess.DEVNULL
        ):
            numbers, stamps = heard(sock, count)
    behind = np.array(stamps) - (np.array(numbers) * 1e9 / rate).astype(np.int64)
    behind = (behind - behind.min()) / 1e6
    return float(np.percentile(behind, 99)), float(behind.max()), count - len(numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=20_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    count = round(asked.rate * asked.seconds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "even.pcapng"
        file_of(path, count, asked.rate)
        rounds = [late_ms(path, count, asked.rate) for _ in range(asked.rounds)]
    said = {
        "rate": asked.rate,
        "datagrams": count,
        "p99_ms": statistics.median(one[0] for one in rounds),
        "max_ms": max(one[1] for one in rounds),
        "missing": sum(one[2] for one in rounds),
        "load": os.getloadavg()[0],
        "cpus": os.cpu_count(),
    }
    print(json.dumps(said) if asked.json else ", ".join(f"{name} {value:g}" for name, value in said.items()))
    print([f"p99 {one[0]:.3f} ms" for one in rounds], file=sys.stderr)


if __name__ == "__main__":
    main()
