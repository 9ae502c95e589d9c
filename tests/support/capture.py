"""tcpdump on loopback, and what it wrote: a witness of the same datagrams that shares no code with the program."""

from __future__ import annotations

import re
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

DEADLINE_S = 30.0
_MAGIC_NS = 0xA1B23C4D
"""A capture with stamps in nanoseconds, in the byte order of the machine that wrote it (draft-ietf-opsawg-pcap 4)."""
_ETHERNET, _IPV4, _UDP = 1, 0x0800, 17
_FILE_HEADER = struct.Struct("=IHHiIII")
_FRAME_HEADER = struct.Struct("=IIII")
_SNAP_BYTES = 128


class Frame(NamedTuple):
    """One captured UDP datagram over IPv4."""

    stamp_ns: int
    """The capture's own, Unix nanoseconds."""
    source: tuple[str, int]
    target: tuple[str, int]
    payload: bytes
    """As much of it as was captured."""


class NoCapture(Exception):
    """tcpdump is here, but may not listen."""


def read(data: bytes) -> list[Frame]:
    """The UDP datagrams of a capture file; a last frame that is not whole yet is left out."""
    magic, _, _, _, _, _, link_type = _FILE_HEADER.unpack_from(data)
    assert magic == _MAGIC_NS, f"no capture with nanoseconds: {magic:#x}"
    assert link_type == _ETHERNET, f"link type {link_type}"
    frames, at = [], _FILE_HEADER.size
    while at + _FRAME_HEADER.size <= len(data):
        seconds, nanoseconds, captured, _ = _FRAME_HEADER.unpack_from(data, at)
        at += _FRAME_HEADER.size
        if at + captured > len(data):
            break
        frames.append(_frame(seconds * 1_000_000_000 + nanoseconds, data[at : at + captured]))
        at += captured
    return frames


def _frame(stamp_ns: int, frame: bytes) -> Frame:
    (kind,) = struct.unpack_from("!H", frame, 12)
    packet = frame[14:]
    assert (kind, packet[0] >> 4, packet[9]) == (_IPV4, 4, _UDP), frame.hex()
    udp = packet[4 * (packet[0] & 15) :]
    source_port, target_port, length = struct.unpack_from("!HHH", udp)
    source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    return Frame(stamp_ns, (source, source_port), (target, target_port), udp[8:length])


@dataclass
class Capture:
    """A capture that runs."""

    file: Path
    port: int
    said: str = ""
    dropped: int = -1
    """Frames that the kernel could not hand to tcpdump; known once it has ended."""

    def frames(self) -> list[Frame]:
        """What has been captured so far, in the order of its arrival."""
        data = self.file.read_bytes()
        return read(data) if data else []

    def mark(self, text: bytes) -> None:
        """Wait until a datagram that we send now is in the capture, and so all that came before it.

        It goes to the captured port again and again: the first ones may come before tcpdump listens.
        """
        until_s = time.monotonic() + DEADLINE_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not any(frame.payload == text for frame in self.frames()):
                assert time.monotonic() < until_s, "tcpdump captures nothing"
                sock.sendto(text, ("127.0.0.1", self.port))
                time.sleep(0.02)


@contextmanager
def capturing(port: int, directory: Path) -> Iterator[Capture]:
    """tcpdump on loopback, of what goes from or to a UDP port.

    Raises: NoCapture, where this takes a right that we have not.
    """
    capture = Capture(directory / "capture.pcap", port)
    # tcpdump gives its rights away before it opens a file, so it gets one that is open; -U writes each frame at once.
    words = ["tcpdump", "-i", "lo", "-n", "-U", "-B", "16384", "-s", str(_SNAP_BYTES), "-w", "-"]
    words += ["--time-stamp-precision=nano", "--immediate-mode", f"udp port {port}"]
    with (
        capture.file.open("wb") as output,
        subprocess.Popen(words, stdout=output, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        try:
            said = process.stderr.readline()
            while "listening on" not in said:
                if not said:
                    raise NoCapture(f"tcpdump ended with {process.wait(DEADLINE_S)}: {capture.said}")
                capture.said += said
                said = process.stderr.readline()
            capture.mark(b"begin")
            yield capture
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=DEADLINE_S)
            found = re.search(r"(\d+) packets? dropped by kernel", said)
            assert found, said
            capture.dropped = int(found[1])
        finally:
            process.kill()
