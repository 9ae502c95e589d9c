"""The flows of a capture file, with the ledger that a live flow has.

A flow is what goes from one address to another, in one format, with one key (session id, SSRC, universe), seen on one
interface. The measured stream is known by its bytes, other formats by the port that they are sent to.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from udprism.capture.datagrams import Datagrams
from udprism.capture.packets import UNKNOWN_NS
from udprism.capture.series import Series
from udprism.columns.runs import runs_of
from udprism.columns.types import (
    NS_PER_MS,
    NS_PER_S,
    BoolColumn,
    I32Column,
    I64Column,
    Rows,
    U8Column,
    U64Column,
    format_address,
)
from udprism.ledger.ledger import Ledger
from udprism.ledger.numbers import SEQUENCES
from udprism.node.meetings import Meetings
from udprism.node.timed_counts import TimedCounts
from udprism.wire.formats import FORMATS
from udprism.wire.measured import DropReason, decode_colours

MAX_FLOWS: Final = 4096
_LOSS_AFTER_NS: Final = NS_PER_S
MEASURED: Final = "measured"
CONTROL: Final = "measured control"
OPAQUE: Final = "opaque"
NAMES: Final = (OPAQUE, MEASURED, CONTROL, *(name for name in FORMATS if name != OPAQUE))
_ODD: Final = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93,
                        0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53, 0x94D049BB133111EB], np.uint64)  # fmt: skip
"""Odd, so that no word is lost in their products."""
_BELIEVED_AFTER: Final = 32
"""Numbers of foreign formats are believed once this many steps were by one, and most were."""
_ROW_BYTES: Final = max(64, *(form.row_bytes for form in FORMATS.values()))


class _Told(NamedTuple):
    """The contents of n datagrams. form: uint8[n], an index of NAMES. key: uint64[n]. number: int64[n], as on the wire,
    less the format's first; sent_unix_ns: int64[n]; numbered: bool[n]. part: int64[n], where in its frame; -1 none."""

    form: U8Column
    key: U64Column
    number: I64Column
    numbered: BoolColumn
    sent_unix_ns: I64Column
    part: I64Column


class _Flow(NamedTuple):
    """One row of the table."""

    interface: int
    addresses: bytes
    key: int
    form: int


class Inspection:
    """Reads capture files whole, in bounded memory; then `body` says what is in it."""

    def __init__(self, reader: Series, format_of_port: Mapping[int, str]) -> None:
        """format_of_port: names of FORMATS by target port, before and above their usual ports."""
        usual = {form.port: name for name, form in FORMATS.items() if form.port}
        self._format_of_port = usual | dict(format_of_port)
        self._reader = reader
        self._flows: list[_Flow] = []
        self._slot_of: dict[bytes, int] = {}
        self._ledger = Ledger(MAX_FLOWS, loss_after_ns=_LOSS_AFTER_NS, loss_after_arrivals=256)
        self._datagrams = np.zeros(MAX_FLOWS, np.int64)
        self._bytes = np.zeros(MAX_FLOWS, np.int64)
        self._first_ns = np.full(MAX_FLOWS, UNKNOWN_NS)
        self._last_ns = np.full(MAX_FLOWS, UNKNOWN_NS)
        self._extended = np.zeros(MAX_FLOWS, np.int64)
        self._part = np.full(MAX_FLOWS, -1)
        self._steps = np.zeros(MAX_FLOWS, np.int64)
        self._steps_by_one = np.zeros(MAX_FLOWS, np.int64)
        self._began = np.zeros(MAX_FLOWS, np.bool_)
        self._wire = np.zeros(MAX_FLOWS, np.int64)
        """The last number, as on the wire."""
        self._modulus = np.ones(MAX_FLOWS, np.int64)
        self._pair = np.zeros(MAX_FLOWS, np.int64)
        self._interface = np.zeros(MAX_FLOWS, np.int64)
        self._pair_of: dict[bytes, int] = {}
        self._first_of_pair: dict[int, int] = {}
        """Our own numbering's first number that was seen of a pair."""
        self._now_ns = 0
        self._meetings = Meetings()
        self._rates = TimedCounts(MAX_FLOWS)
        self.beyond: Counter[str] = Counter()
        """Datagrams of flows that found no place, by format."""

    def read(self) -> None:
        """To the end of the last file. Raises: CaptureError, after all before the fault was taken in."""
        try:
            for batch in self._reader.datagrams():
                self._take(batch)
        finally:
            self._ledger.expire(self._now_ns + 10 * _LOSS_AFTER_NS, _no_drops, 0)

    def _take(self, batch: Datagrams) -> None:
        told = self._told(batch)
        slot = self._slots(batch, told)
        placed = slot >= 0
        if not placed.all():
            self.beyond.update(NAMES[form] for form in told.form[~placed].tolist())
            which = np.flatnonzero(placed)
            slot, told = slot[which], _Told(*(column[which] for column in told))  # type: ignore[arg-type]
            time_ns, length = batch.time_ns[which], batch.length[which]
        else:
            time_ns, length = batch.time_ns, batch.length
        if not len(slot):
            return
        np.add.at(self._datagrams, slot, 1)
        np.add.at(self._bytes, slot, length)
        self._note_times(slot, time_ns)
        self._count(slot, told, time_ns)

    def _told(self, batch: Datagrams) -> _Told:
        rows, length = batch.rows(_ROW_BYTES), batch.length.astype(np.int32)
        readable = batch.captured >= np.minimum(batch.length, _ROW_BYTES)  # behind what was kept lies something else
        colours = decode_colours(rows, length)
        count = len(batch)
        told = _Told(
            form=np.zeros(count, np.uint8),
            key=np.zeros(count, np.uint64),
            number=colours.sequence.astype(np.int64),
            numbered=colours.valid & readable,
            sent_unix_ns=colours.sent_at_unix_ns.copy(),
            part=np.full(count, -1),
        )
        control = (colours.reason == DropReason.CONTROL) & readable
        told.form[told.numbered] = NAMES.index(MEASURED)
        told.form[control] = NAMES.index(CONTROL)
        ours = told.numbered | control
        told.key[ours] = colours.session_id[ours]
        ports = batch.addresses[:, 34:36].view(">u2")[:, 0]
        for port in np.unique(ports).tolist():
            name = self._format_of_port.get(port)
            if name is not None and name != OPAQUE:
                self._decode(name, np.flatnonzero((ports == port) & readable & ~ours), rows, length, told)
        return told

    def _decode(self, name: str, which: I64Column, rows: Rows, length: I32Column, told: _Told) -> None:
        """What a foreign format says of these rows."""
        form = FORMATS[name]
        decoded = form.decode(rows[which], length[which])
        valid = decoded.valid
        its = which[valid]
        told.form[its] = NAMES.index(name)
        told.key[its] = decoded.key[valid]
        told.number[its] = decoded.number[valid].astype(np.int64) - form.numbering.first
        told.numbered[its] = decoded.numbered[valid] & (form.numbering.modulus > 0)
        if decoded.part is not None:
            told.part[its] = decoded.part[valid]

    def _slots(self, batch: Datagrams, told: _Told) -> I64Column:
        """int64[n]: each one's flow; -1 if there is no place for another one."""
        rows = np.zeros((len(batch), 56), np.uint8)
        rows[:, :36] = batch.addresses
        rows[:, 36:40] = batch.interface.view(np.uint8).reshape(-1, 4)
        rows[:, 40:48] = told.key.view(np.uint8).reshape(-1, 8)
        rows[:, 48] = told.form
        words = rows.view(np.uint64)
        mixed = (words * _ODD).sum(axis=1, dtype=np.uint64)
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        if not (rows == rows[first[inverse]]).all():  # two flows of one sum
            _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        slots = np.empty(len(first), np.int64)
        for number in np.argsort(first).tolist():
            row = int(first[number])
            key = rows[row].tobytes()
            slot = self._slot_of.get(key)
            if slot is None and len(self._flows) < MAX_FLOWS:
                slot = self._slot_of[key] = self._add_flow(
                    _Flow(int(batch.interface[row]), key[:36], int(told.key[row]), int(told.form[row])), key
                )
            slots[number] = -1 if slot is None else slot
        return slots[inverse.reshape(-1)]

    def _add_flow(self, flow: _Flow, key: bytes) -> int:
        slot = len(self._flows)
        self._flows.append(flow)
        name = NAMES[flow.form]
        self._modulus[slot] = SEQUENCES if name in (MEASURED, CONTROL) else max(1, FORMATS[name].numbering.modulus)
        self._interface[slot] = flow.interface
        self._pair[slot] = self._pair_of.setdefault(key[:36] + key[40:], len(self._pair_of))
        return slot

    def _note_times(self, slot: I64Column, time_ns: I64Column) -> None:
        known = time_ns != UNKNOWN_NS
        if not known.any():
            return
        slot, time_ns = slot[known], time_ns[known]
        new = slot[self._first_ns[slot] == UNKNOWN_NS]
        self._first_ns[new] = np.iinfo(np.int64).max
        np.minimum.at(self._first_ns, slot, time_ns)
        np.maximum.at(self._last_ns, slot, time_ns)
        self._now_ns = max(self._now_ns, int(time_ns.max()))
        self._rates.add(slot, time_ns)

    def _count(self, slot: I64Column, told: _Told, time_ns: I64Column) -> None:
        """Numbers into the ledger, in order of arrival."""
        which = np.flatnonzero(told.numbered & (time_ns != UNKNOWN_NS))
        if not len(which):
            return
        which = which[np.argsort(slot[which], kind="stable")]
        flow, number = slot[which], told.number[which]
        new = np.unique(flow[~self._began[flow]]).astype(np.int32)
        if len(new):
            no = np.zeros(len(new), np.bool_)
            self._ledger.begin_session(new, no, no)
        extended, counts = self._extend(flow, number, told.part[which])
        self._meetings.take(self._pair[flow], extended, self._interface[flow], time_ns[which])
        which, flow, extended = which[counts], flow[counts], extended[counts]
        order = np.argsort(which, kind="stable")  # arrivals of all flows in their order again
        which, flow, extended = which[order], flow[order], extended[order]
        arrived_ns = time_ns[which]
        measured = told.form[which] == NAMES.index(MEASURED)
        sent_ns = np.where(measured, told.sent_unix_ns[which], arrived_ns)
        self._ledger.update(flow.astype(np.int32), extended.astype(np.uint32), sent_ns, arrived_ns, self._now_ns)
        self._ledger.expire(self._now_ns, _no_drops, 0)

    def _extend(self, flow: I64Column, number: I64Column, part: I64Column) -> tuple[I64Column, BoolColumn]:
        """(numbers that do not wrap, which of them count) of rows sorted by flow.

        A capture begins anywhere, so numbers count from the first one; our own from the first one of the same pair of
        addresses, at whichever interface: what was lost on its way to the second interface is then seen. A datagram
        with the number of the one before it and a later part of the frame continues it, and does not count again.
        """
        runs = runs_of(flow)
        starts, slots = runs.starts, flow[runs.starts]
        before, part_before = np.roll(number, 1), np.roll(part, 1)
        before[starts], part_before[starts] = self._wire[slots], self._part[slots]
        modulus = self._modulus[flow]
        step = (number - before + modulus // 2) % modulus - modulus // 2
        first = np.zeros(len(flow), np.bool_)
        first[starts] = ~self._began[slots]
        step[first] = 0
        so_far = np.cumsum(step)
        base = np.repeat(self._extended[slots] - (so_far[starts] - step[starts]), runs.lengths)
        extended = base + so_far
        own = modulus == SEQUENCES
        for start in starts[first[starts] & own[starts]].tolist():
            self._first_of_pair.setdefault(int(self._pair[flow[start]]), int(number[start]))
        bases = [self._first_of_pair.get(pair, 0) for pair in self._pair[slots].tolist()]
        extended[own] = (number - np.repeat(bases, runs.lengths))[own]
        ends = starts + runs.lengths - 1
        self._extended[slots], self._wire[slots], self._part[slots] = extended[ends], number[ends], part[ends]
        self._began[slots] = True
        np.add.at(self._steps, flow, ~first)
        np.add.at(self._steps_by_one, flow, step == 1)
        return extended, first | (step != 0) | (part <= part_before)

    # -- what is said of it

    def body(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "packets": self._reader.packets,
            "skipped": dict(sorted(self._reader.skipped.items())),
            "beyond": dict(sorted(self.beyond.items())),
            "cut_at": self._reader.cut_at,
            "interfaces": [
                {"name": one.name, "description": one.description, "link_type": one.link_type}
                for one in self._reader.interfaces
            ],
            "rates": {"from_ns": self._rates.begin_ns, "step_ns": self._rates.step_ns},
            "flows": [self._flow_body(slot) for slot in range(len(self._flows))],
            "delays": [
                {"from_interface": first, "to_interface": second, "flows": self._flows_of(pair)} | body
                for (pair, first, second), body in self._meetings.bodies()
            ],
        }

    def _flows_of(self, pair: int) -> list[int]:
        found: list[int] = np.flatnonzero(self._pair[: len(self._flows)] == pair).tolist()
        return found

    def _flow_body(self, slot: int) -> dict[str, Any]:
        flow = self._flows[slot]
        first_ns, last_ns = int(self._first_ns[slot]), int(self._last_ns[slot])
        timed, count = first_ns != UNKNOWN_NS, int(self._datagrams[slot])
        numbering = self._numbering(slot)
        ledger = None
        if numbering in ("own", "believed"):
            ledger = self._ledger.body(slot)
        return {
            "id": slot,
            "interface": flow.interface,
            "format": NAMES[flow.form],
            "key": flow.key,
            "from": _address(flow.addresses[:16], flow.addresses[32:34]),
            "to": _address(flow.addresses[16:32], flow.addresses[34:36]),
            "datagrams": count,
            "bytes": int(self._bytes[slot]),
            "first_ns": first_ns if timed else None,
            "last_ns": last_ns if timed else None,
            "rate_hz": (count - 1) * NS_PER_S / (last_ns - first_ns) if timed and last_ns > first_ns else None,
            "numbering": numbering,
            "ledger": ledger,
            "jitter_ms": self._ledger.jitter_ns[slot] / NS_PER_MS if numbering == "own" else None,
            "counts": self._rates.of(slot, last_ns) if timed else [],
        }

    def _numbering(self, slot: int) -> str | None:
        """Whether the flow's numbers can be believed; None if its format has none."""
        if NAMES[self._flows[slot].form] == MEASURED:
            return "own"
        if self._modulus[slot] <= 1 or NAMES[self._flows[slot].form] == CONTROL:
            return None
        by_one, steps = int(self._steps_by_one[slot]), int(self._steps[slot])
        if by_one >= _BELIEVED_AFTER and 2 * by_one > steps:
            return "believed"
        return "not yet known" if steps < 2 * _BELIEVED_AFTER else "does not count"


def _address(host: bytes, port: bytes) -> str:
    address = ipaddress.IPv6Address(host)
    return format_address((str(address.ipv4_mapped or address), int.from_bytes(port)))


def _no_drops(slots: I32Column) -> I64Column:
    return np.zeros(len(slots), np.int64)
