"""Records the fate of each datagram: sums by direction, and the history."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udprism.columns.runs import Runs
from udprism.columns.types import BoolColumn, I64Column, Rows, U8Column
from udprism.ledger.meters import Iperf3
from udprism.relay.memory import CAUSE_SHIFT, DOWN, HISTORY, PAYLOAD_BYTES, RECORD, Fate, Flag, Memory, State, Sum

NO_CAUSE = 0


class Judged(NamedTuple):
    """n datagrams by direction, each direction's in the order of their numbers; what was done to each.

    cause: uint8[n], the row of `Sum` that a loss is counted in, NO_CAUSE for none. held: bool[n].
    """

    runs: Runs
    direction: I64Column
    number: I64Column
    length: I64Column
    cause: U8Column
    held: BoolColumn
    duplicated: BoolColumn | None
    corrupted: BoolColumn | None


class Accounts:
    """Writer's side of `Memory`. Relay's loop only; callers open and close the sums."""

    def __init__(self, memory: Memory, *, keep_payload: bool) -> None:
        self.memory = memory
        self._keep_payload = keep_payload
        self._ledger = memory.ledger
        self._opaque = memory.history.view(np.dtype((np.void, RECORD.itemsize)))
        self.meter = Iperf3(
            memory.ledger[Sum.HIGHEST], memory.ledger[Sum.IPERF3_LOST], memory.ledger[Sum.IPERF3_OUT_OF_ORDER]
        )

    def take(self, judged: Judged, now_ns: int) -> None:
        """Count a batch that was read from our sockets, after its sends."""
        starts, lengths = judged.runs
        lead, ledger = judged.direction[starts], self._ledger
        ledger[Sum.TAKEN, lead] += lengths
        ledger[Sum.BYTES_TAKEN, lead] += np.add.reduceat(judged.length, starts)
        ledger[Sum.HEARD_NS, lead] = now_ns
        if not judged.cause.any() and not judged.held.any():
            ledger[Sum.LEFT, lead] += lengths
            ledger[Sum.BYTES_LEFT, lead] += np.add.reduceat(judged.length, starts)
        else:
            for row in (Sum.LINK, Sum.QUEUE, Sum.KERNEL):
                ledger[row, lead] += np.add.reduceat(judged.cause == row, starts, dtype=np.int64)
            ledger[Sum.HELD, lead] += np.add.reduceat(judged.held, starts, dtype=np.int64)
            left = (judged.cause == NO_CAUSE) & ~judged.held
            ledger[Sum.LEFT, lead] += np.add.reduceat(left, starts, dtype=np.int64)
            ledger[Sum.BYTES_LEFT, lead] += np.add.reduceat(np.where(left, judged.length, 0), starts)
        for row, marked in ((Sum.DUPLICATED, judged.duplicated), (Sum.CORRUPTED, judged.corrupted)):
            if marked is not None:
                ledger[row, lead] += np.add.reduceat(marked, starts, dtype=np.int64)
        self.memory.flows["state"][lead[lead & 1 == DOWN] >> 1] = State.BOTH

    def arrive_one(self, direction: int, number: int) -> None:
        """`meter.arrive` for one datagram that left, without NumPy."""
        sums, width = self.memory.sums, self.memory.width
        packet, highest = number + 1, sums[Sum.HIGHEST * width + direction]
        if packet > highest:
            sums[Sum.IPERF3_LOST * width + direction] += packet - highest - 1
            sums[Sum.HIGHEST * width + direction] = packet
        else:
            sums[Sum.IPERF3_OUT_OF_ORDER * width + direction] += 1
            lost = sums[Sum.IPERF3_LOST * width + direction]
            sums[Sum.IPERF3_LOST * width + direction] = max(0, lost - 1)

    def record(self, judged: Judged, taken_unix_ns: I64Column, delay_us: I64Column | None, payload: Rows) -> None:
        """Write a batch's datagrams into the history. payload: uint8[n, PAYLOAD_BYTES], 0 behind each length."""
        n = len(judged.direction)
        block = np.zeros(n, RECORD)
        block["number"], block["size_bytes"], block["taken_unix_ns"] = judged.number, judged.length, taken_unix_ns
        if not judged.cause.any() and not judged.held.any():
            block["fate"] = Fate.FORWARDED
        else:
            block["fate"] = np.where(judged.cause > 0, Fate.LOST, np.where(judged.held, Fate.HELD, Fate.FORWARDED))
            block["flags"] = judged.cause << CAUSE_SHIFT
        if judged.duplicated is not None:
            block["flags"] |= np.where(judged.duplicated, Flag.DUPLICATED, 0).astype(np.uint8)
        if judged.corrupted is not None:
            block["flags"] |= np.where(judged.corrupted, Flag.CORRUPTED, 0).astype(np.uint8)
        if delay_us is not None:
            block["delay_us"] = delay_us
        if self._keep_payload:
            block["payload"][:, : payload.shape[1]] = payload
        # Of a long run only its last HISTORY datagrams stay; NumPy leaves open which of equal places is written last.
        place = judged.direction * HISTORY + (judged.number & (HISTORY - 1))
        if int(judged.runs.lengths.max()) > HISTORY:
            ends = np.repeat(judged.runs.starts + judged.runs.lengths, judged.runs.lengths)
            kept = np.flatnonzero(ends - np.arange(n) <= HISTORY)
            place, block = place[kept], block[kept]
        self._opaque[place] = block.view(self._opaque.dtype)

    def release(self, direction: I64Column, number: I64Column, length: I64Column, lost: BoolColumn) -> None:
        """Held datagrams have left. lost: bool[n], the kernel refused these. Excludes copies that we made."""
        ledger = self._ledger
        np.subtract.at(ledger[Sum.HELD], direction, 1)
        np.add.at(ledger[Sum.LEFT], direction[~lost], 1)
        np.add.at(ledger[Sum.BYTES_LEFT], direction[~lost], length[~lost])
        np.add.at(ledger[Sum.KERNEL], direction[lost], 1)
        self._settle(direction, number, np.where(lost, Sum.KERNEL, NO_CAUSE).astype(np.uint8))

    def drop_held(self, direction: I64Column, number: I64Column) -> None:
        """Held datagrams never leave, because their flow ends. They count as lost by the link."""
        np.subtract.at(self._ledger[Sum.HELD], direction, 1)
        np.add.at(self._ledger[Sum.LINK], direction, 1)
        self._settle(direction, number, np.full(len(number), Sum.LINK, np.uint8))

    def _settle(self, direction: I64Column, number: I64Column, cause: U8Column) -> None:
        history = self.memory.history
        place = direction * HISTORY + (number & (HISTORY - 1))
        here = history["number"][place] == number.astype(np.uint32)
        place, cause = place[here], cause[here]
        history["fate"][place] = np.where(cause > 0, Fate.LOST, Fate.FORWARDED)
        history["flags"][place] |= cause << CAUSE_SHIFT

    def tell_refused(self, direction: int, data: bytes) -> None:
        """The destination's machine returned this datagram: find it, as the newest one that looks like it."""
        self._ledger[Sum.REFUSED, direction] += 1
        self.memory.flows["state"][direction >> 1] = State.REFUSED
        rows = self.memory.history[direction * HISTORY : (direction + 1) * HISTORY]
        head = np.zeros(PAYLOAD_BYTES, np.uint8)
        kept = data[:PAYLOAD_BYTES] if self._keep_payload else b""
        head[: len(kept)] = np.frombuffer(kept, np.uint8)
        same = (
            (rows["fate"] == Fate.FORWARDED) & (rows["size_bytes"] == len(data)) & (rows["flags"] & Flag.REFUSED == 0)
        )
        same &= (rows["payload"] == head).all(axis=1)
        if same.any():
            which = int(np.where(same, rows["number"].astype(np.int64), -1).argmax())
            rows["flags"][which] |= Flag.REFUSED
