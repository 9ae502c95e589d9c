"""What other meters say of datagrams whose fates are known; each row of backend/METERS.md names its test."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from support.programs import need
from udprism.ledger.meters import Iperf3, as_rfc3550

METERS = Path(__file__).parents[2] / "backend" / "METERS.md"
SENT, LOST, DOUBLED = 200, {5, 6, 40, 77, 120, 121, 122, 150}, {10, 20, 30, 60, 90}


def arrivals() -> list[int]:
    """Numbers in their order of arrival: some never come, some come twice, two neighbours are swapped."""
    order = [number for number in range(SENT) if number not in LOST for _ in range(1 + (number in DOUBLED))]
    at = order.index(100)
    order[at], order[at + 1] = order[at + 1], order[at]
    return order


def capture(numbers: list[int]) -> bytes:
    """A pcap file of RTP datagrams with these numbers, 20 ms apart."""
    blocks = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)]  # LINKTYPE_RAW
    for place, number in enumerate(numbers):
        rtp = struct.pack("!BBHII", 0x80, 0, number, number * 160, 0xC0FFEE) + bytes(160)
        udp = struct.pack("!HHHH", 40_000, 5_004, 8 + len(rtp), 0) + rtp
        ip = (
            struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), place, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
            + udp
        )
        blocks.append(struct.pack("<IIII", place // 50, place % 50 * 20_000, len(ip), len(ip)) + ip)
    return b"".join(blocks)


@pytest.mark.peer
def test_tshark_reports_what_a_receiver_report_would(tmp_path: Path) -> None:
    need("tshark")
    file = tmp_path / "rtp.pcap"
    file.write_bytes(capture(arrivals()))
    command = ["tshark", "-r", str(file), "-d", "udp.port==5004,rtp", "-q", "-z", "rtp,streams"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    lost = re.search(r"(-?\d+) \(-?[\d.]+%\)", said)
    assert lost is not None, said
    assert int(lost[1]) == as_rfc3550(SENT, SENT - len(LOST), len(DOUBLED)).lost == len(LOST) - len(DOUBLED)


def test_of_one_and_the_same_path_each_meter_says_something_else() -> None:
    highest, lost, out_of_order = (np.zeros(1, np.int64) for _ in range(3))
    numbers = np.array(arrivals())
    Iperf3(highest, lost, out_of_order).arrive(np.zeros(len(numbers), np.int64), numbers)
    assert len(LOST) == 8
    assert as_rfc3550(SENT, SENT - len(LOST), len(DOUBLED)).lost == 3
    # Five copies and the one that was overtaken each take one off the losses; the copy of 30 came when there were none.
    assert (int(lost[0]), int(out_of_order[0])) == (4, 6)


def test_every_row_of_the_table_is_held_by_a_test_that_is_there() -> None:
    rows = re.findall(r"^\| (?!meter|---).*\| `(test_\w+)` \|$", METERS.read_text(), re.MULTILINE)
    assert len(rows) >= 6
    here = "".join(path.read_text() for path in sorted(Path(__file__).parents[1].rglob("test_*.py")))
    assert [name for name in rows if f"def {name}(" not in here] == []
