"""Sends a capture's datagrams again, with their original timing, through a link.

One socket sends all of one interface's datagrams to one target. What cannot be sent is counted by reason.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from udprism.capture.datagrams import DatagramReader, Datagrams
from udprism.capture.packets import UNKNOWN_NS
from udprism.capture.selection import Selection
from udprism.columns.arrivals import SOCKADDR_BYTES
from udprism.columns.outgoing import Outgoing
from udprism.columns.types import (
    NEVER_NS,
    NS_PER_MS,
    NS_PER_S,
    Address,
    BoolColumn,
    Clock,
    I32Column,
    I64Column,
    Rows,
    U8Column,
)
from udprism.ledger.send_log import SendLog
from udprism.link.delay_line import DelayLine
from udprism.link.link import Link, client_key
from udprism.link.model import LinkModel
from udprism.udp.outlet import Outlet
from udprism.udp.read_ahead import read_ahead
from udprism.udp.release_process import SOURCE_BYTES
from udprism.udp.sockets import header_bytes, sockaddr_row

MAX_PAYLOAD_BYTES: Final = 65_507
CHUNK: Final = 512
"""Datagrams whose payloads are in memory at once."""
_PIECES_AHEAD: Final = 32
"""That are read before their time: at 20,000 datagrams per second almost a second's."""
_HELD: Final = 4096
_LONGEST_NAP_NS: Final = 50 * NS_PER_MS
_SNDBUF_BYTES: Final = 1 << 20


class Piece(NamedTuple):
    """Up to CHUNK datagrams. due_ns: int64[n], ascending, from the replay's beginning."""

    due_ns: I64Column
    rows: Rows
    length: I32Column


class Opened(Protocol):
    """A capture's bytes: see `mapped_file`."""

    @property
    def data(self) -> U8Column:
        """All of them."""

    def forget(self, before: int) -> None:
        """Nothing before that offset is looked at soon."""


FILE_CUT_OFF: Final = "file-cut-off"
"""Why the last record of a file is skipped: the file ends before it does."""


class Playlist:
    """The datagrams to send, and when. Raises: CaptureError while it is read."""

    def __init__(
        self,
        files: Sequence[Opened],
        selection: Selection,
        interface: int | str | None,
        speed: float,
        loops: int | None,
    ) -> None:
        """files: played one after the other, as a ring of files was written.

        interface: its number or name; None for that of the first datagram. loops: None for no end.
        """
        self._files = files
        self._selection = selection
        self._interface = interface
        self._speed = speed
        self._loops = loops
        self.skipped: Counter[str] = Counter()
        """By reason, of the first time through the files, as far as they were read."""

    def pieces(self) -> Iterator[Piece]:
        """Piece after piece, once or repeatedly; none if nothing is chosen."""
        begin_ns, loop = 0, 0
        while self._loops is None or loop < self._loops:
            first_ns, due_ns, count = None, 0, 0
            for batch in self._chosen(count_skipped=loop == 0):
                if first_ns is None:
                    first_ns = int(batch.time_ns[0])
                due = np.maximum.accumulate(((batch.time_ns - first_ns) / self._speed).astype(np.int64))
                due = np.maximum(due, due_ns)  # files are not always in order
                due_ns, count = int(due[-1]), count + len(batch)
                for begin in range(0, len(batch), CHUNK):
                    which = slice(begin, begin + CHUNK)
                    yield Piece(begin_ns + due[which], *_payloads(batch, which))
            if not count:
                return
            # As far apart as two datagrams are on average; one alone comes once a second.
            begin_ns += due_ns + (due_ns // (count - 1) if count > 1 else int(NS_PER_S / self._speed))
            loop += 1

    def _chosen(self, *, count_skipped: bool) -> Iterator[Datagrams]:
        skipped: Counter[str] = Counter()
        number = self._interface if isinstance(self._interface, int) else None
        for file in self._files:
            reader = DatagramReader(file.data)
            try:
                for batch in reader.datagrams():
                    file.forget(int(batch.record_at[0]))
                    meant = self._selection.of(batch)
                    if number is None:
                        number = self._number(reader, batch, meant)
                    which = _playable(batch, meant, number, skipped)
                    if len(which):
                        yield batch.part(which)
                    if count_skipped:
                        self._say(skipped, reader)
            finally:
                skipped.update({str(reason): count for reason, count in reader.skips.count.items()})
                skipped[FILE_CUT_OFF] += reader.file.cut_at is not None
                if count_skipped:
                    self._say(skipped)

    @property
    def nothing(self) -> str:
        """In words, why nothing was sent."""
        skipped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.skipped.items()))
        return "nothing was sent: " + (f"skipped {skipped}" if skipped else "no datagram is in the file")

    def _say(self, skipped: Counter[str], reader: DatagramReader | None = None) -> None:
        now = skipped.copy()
        if reader is not None:
            now.update({str(reason): count for reason, count in reader.skips.count.items()})
        self.skipped = Counter({reason: count for reason, count in now.items() if count})

    def _number(self, reader: DatagramReader, batch: Datagrams, meant: BoolColumn) -> int | None:
        """Which interface is played, if that can be said by now."""
        if self._interface is None:
            return int(batch.interface[np.argmax(meant)]) if meant.any() else None
        names = [one.name for one in reader.file.interfaces]
        return names.index(str(self._interface)) if self._interface in names else None


def _playable(batch: Datagrams, meant: BoolColumn, number: int | None, skipped: Counter[str]) -> I64Column:
    """Indices of what can be sent; the others are counted."""
    here = meant & (batch.interface == (-1 if number is None else number))
    timed = here & (batch.time_ns != UNKNOWN_NS)
    whole = timed & (batch.captured == batch.length) & (batch.length <= MAX_PAYLOAD_BYTES)
    left = len(batch)
    for reason, mask in (("filter", meant), ("other-interface", here), ("no-time", timed), ("not-whole", whole)):
        kept = int(np.count_nonzero(mask))
        skipped[reason] += left - kept
        left = kept
    return np.flatnonzero(whole)


def _payloads(batch: Datagrams, which: slice) -> tuple[Rows, I32Column]:
    part = batch.part(np.arange(len(batch))[which])
    length = part.length.astype(np.int32)
    return part.rows(max(1, int(length.max()))), length


class _Route:
    """The one flow that the outlet knows here."""

    def __init__(self, target: Address, family: socket.AddressFamily) -> None:
        self.session_id = np.ones(1, np.uint32)
        self.sockaddr: Rows = np.zeros((1, SOCKADDR_BYTES), np.uint8)
        self.sockaddr[0] = sockaddr_row(target, family)
        self.socket_index = np.zeros(1, np.int32)
        self.source: Rows = np.zeros((1, SOURCE_BYTES), np.uint8)
        self.unsent_link = np.zeros(1, np.int64)
        self.unsent_kernel = np.zeros(1, np.int64)


class Replay:
    """Sends a playlist to a target. One thread; counters may be read from any."""

    def __init__(self, target: Address, link: Link, clock: Clock) -> None:
        """Raises: OSError, if no socket can be opened."""
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._sock.bind(("", 0))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SNDBUF_BYTES)
        self._clock = clock
        self._route = _Route(target, family)
        self._line = DelayLine(_HELD, MAX_PAYLOAD_BYTES)
        send_log = SendLog(self._route.session_id, np.zeros(1, np.int64), {}, {}, {}, 1)
        model = LinkModel(1)
        if not link.is_off:
            key = np.array([client_key("replay")], np.uint64)
            model.assign(np.zeros(1, np.int32), link, key, payload_at=0, header_bytes=header_bytes(family))
        self._outlet = Outlet([self._sock], self._route, send_log, model, self._line, clock)
        self.offered = 0
        self._lateness_us = np.zeros(1 << 16, np.int64)
        """By microseconds: how many left that long after their time; the last entry: that long or longer."""

    def close(self) -> None:
        """Datagrams that are still delayed never leave."""
        self._outlet.close()
        self._sock.close()

    def run(self, playlist: Playlist, ended: threading.Event) -> None:
        """Play to the end of the playlist, or until `ended`. Raises: CaptureError."""
        begin_ns: int | None = None
        with read_ahead(playlist.pieces(), _PIECES_AHEAD) as pieces:
            for piece in pieces:
                if begin_ns is None:
                    begin_ns = self._clock.now_ns()
                if not self._send(piece, begin_ns, ended):
                    return
        while self._outlet.last_release_ns > 0 and not ended.is_set():
            self._nap(NEVER_NS, ended)

    def _send(self, piece: Piece, begin_ns: int, ended: threading.Event) -> bool:
        due_ns, start = piece.due_ns + begin_ns, 0
        while start < len(due_ns):
            now_ns = self._clock.now_ns()
            stop = int(np.searchsorted(due_ns, now_ns, "right"))
            if stop <= start:
                if not self._nap(int(due_ns[start]), ended):
                    return False
                continue
            which = np.arange(start, stop)
            numbers = self.offered + np.arange(stop - start)
            slot = np.zeros(stop - start, np.int32)
            batch = Outgoing(slot, numbers, piece.length[which], piece.rows[which])
            self.offered += stop - start
            late_us = np.minimum((now_ns - due_ns[which]) // 1000, len(self._lateness_us) - 1)
            np.add.at(self._lateness_us, late_us, 1)
            self._outlet.send(batch, self._outlet.enter(due_ns[which], now_ns))
            self._outlet.take_unreachable()
            if self._outlet.next_release_ns <= now_ns:
                self._outlet.release(now_ns)
            start = stop
        return not ended.is_set()

    def _nap(self, until_ns: int, ended: threading.Event) -> bool:
        """Sleep until then, or until the link lets something go. False if it is to end."""
        now_ns = self._clock.now_ns()
        if self._line.next_release_ns <= now_ns:
            self._outlet.release(now_ns)
        nap_ns = min(until_ns, self._line.next_release_ns, now_ns + _LONGEST_NAP_NS) - now_ns
        return not ended.wait(max(0, nap_ns) / NS_PER_S)

    def end(self) -> None:
        """What is held back never leaves: the link has lost it."""
        self._route.unsent_link[0] += len(self._line)
        self._outlet.forget(0)

    @property
    def address(self) -> Address:
        """The address that it sends from."""
        host, port = self._sock.getsockname()[:2]
        return str(host), int(port)

    @property
    def sent(self) -> int:
        """Datagrams that left, including copies made by the link."""
        return self._outlet.sent

    @property
    def held(self) -> int:
        """Datagrams in the link now, including copies."""
        return len(self._line)

    @property
    def lost_by_cause(self) -> dict[str, int]:
        """Datagrams that never left."""
        return {"link": int(self._route.unsent_link[0]), "sender_kernel": int(self._route.unsent_kernel[0])}

    @property
    def late_ms(self) -> dict[str, float | None]:
        """How long after their time datagrams went to the link or, without one, to the kernel."""
        return {f"p{percent}": self._late_ms(percent / 100) for percent in (50, 99)}

    def body(self) -> dict[str, object]:
        """offered = sent + lost + held, not counting copies made by the link."""
        return {
            "offered": self.offered,
            "sent": self.sent,
            "held": self.held,
            "lost_by_cause": self.lost_by_cause,
            "late_ms": self.late_ms,
        }

    def _late_ms(self, ratio: float) -> float | None:
        total = np.cumsum(self._lateness_us)
        return int(np.searchsorted(total, ratio * total[-1])) / 1000 if total[-1] else None
