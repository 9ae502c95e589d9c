"""Every figure of flows that number their datagrams, in every modulus, against the twin in `support.plain_flow`."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.ledgers import START_NS, UNIX_NS, WINDOW, closes, counts_agree
from support.plain_flow import PlainFlow, Row, decoded
from udprism.columns.arrivals import SOCKADDR_BYTES, Arrivals
from udprism.columns.types import NS_PER_MS, NS_PER_S
from udprism.ledger.counting import STREAK
from udprism.ledger.heard import Heard, HeardFlows
from udprism.ledger.history import History
from udprism.ledger.ledger import Ledger
from udprism.wire.format import Numbering
from udprism.wire.opaque import Opaque

NUMBERINGS = {
    "measured": Numbering(1 << 32, 0),
    "rtp": Numbering(1 << 16, 0),
    "e131": Numbering(256, 0),
    "artnet": Numbering(255, 1),
    "ddp": Numbering(15, 1),
}
WIDTH, AFTER_ARRIVALS = 64, 16


class Numbered(Opaque):
    """A format that counts so; the test says what it decodes."""

    def __init__(self, numbering: Numbering) -> None:
        self.numbering = numbering


def flows_of(numbering: Numbering, count: int) -> HeardFlows:
    ledger = Ledger(count, window=WINDOW, loss_after_ns=NS_PER_S, loss_after_arrivals=AFTER_ARRIVALS)
    flows = HeardFlows(count, ledger, History(count, 64), width=WIDTH, silent_after_ns=2 * NS_PER_S)
    for slot in range(count):
        flows.add(Heard(f"f-{slot}", "p-1", Numbered(numbering), "", "127.0.0.1:5000", "", 0), START_NS)
    return flows


def hear(flows: HeardFlows, slots: list[int], rows: list[Row], now_ns: int, *, has_parts: bool) -> None:
    slot, count = np.array(slots, np.int32), len(rows)
    names, data = np.zeros((count, SOCKADDR_BYTES), np.uint8), np.zeros((count, WIDTH), np.uint8)
    arrivals = Arrivals(slot, np.full(count, UNIX_NS + now_ns), np.full(count, 8, np.int32), data, names)
    flows.account(slot, arrivals, decoded(rows, has_parts=has_parts), 0, now_ns)


def stream(rng: Random, numbering: Numbering, length: int, *, has_parts: bool) -> list[Row]:
    """What comes of a sender over a path that loses, repeats and delays; it may start anew, or never count."""
    at, honest = rng.randrange(numbering.modulus), rng.random() < 0.9
    sent: list[Row] = []
    for _ in range(length):
        at += 1 if honest or rng.random() < 0.5 else rng.randrange(numbering.modulus)
        if rng.random() < 0.003:
            at = rng.randrange(numbering.modulus)
        number = None if numbering.first and rng.random() < 0.01 else numbering.at(at)
        sent.append(Row(number))
        if has_parts and rng.random() < 0.2:
            sent.append(Row(number, 1440))
    trouble = rng.choice([0.0, 0.02, 0.2])
    came: list[tuple[float, Row]] = []
    for place, row in enumerate(sent):
        for _ in range(2 if rng.random() < trouble / 2 else 1):
            delay = rng.expovariate(1 / 5) if rng.random() < trouble else 0
            clean = STREAK < place < 3 * STREAK or rng.random() >= trouble
            if clean:
                came.append((place + delay, row))
    return [row for _, row in sorted(came, key=lambda one: one[0])]


def same(flows: HeardFlows, slot: int, plain: PlainFlow) -> None:
    """Every figure is equal."""
    ledger, one = flows.ledger, plain.ledger
    assert bool(flows.counting.believed[slot]) == plain.counting.believed
    assert flows.counting.word(slot) == plain.counting.word
    assert ledger.plain[slot] == one.plain
    assert ledger.received[slot] == one.received + one.plain
    assert ledger.lost[slot] == sum(one.lost_by_cause.values())
    for name in ("duplicates", "reordered", "late", "jumps"):
        assert getattr(ledger, name)[slot] == getattr(one, name), name
    assert ledger.beyond_window[slot] == one.beyond
    for cause, count in one.lost_by_cause.items():
        assert ledger.lost_by_cause[cause, slot] == count
    if ledger.measured[slot]:
        body = ledger.body(slot)
        assert body["in_flight"] == len(one.holes) + one.pushed_out
        assert body["sent"] == one.plain + one.received + sum(one.lost_by_cause.values()) + body["in_flight"]
        assert closes(ledger, slot)


@pytest.mark.parametrize("name", NUMBERINGS)
def test_every_figure_is_the_plain_twin_s_whatever_order_datagrams_come_in(name: str) -> None:
    seen: Counter[str] = Counter()

    @given(st.integers(0, 2**32 - 1))
    @settings(max_examples=12)
    def holds(seed: int) -> None:
        rng, numbering, has_parts = Random(seed), NUMBERINGS[name], name == "ddp"
        count = rng.choice([1, 4])
        flows = flows_of(numbering, count)
        plain = [PlainFlow(numbering.modulus, WINDOW, NS_PER_S, AFTER_ARRIVALS) for _ in range(count)]
        waiting = {slot: stream(rng, numbering, 300, has_parts=has_parts)[::-1] for slot in range(count)}
        now_ns = START_NS
        while left := [slot for slot, rows in waiting.items() if rows]:
            slots = [slot for slot in rng.choices(left, k=rng.choice([1, 1, 5, 40])) if waiting[slot]]
            pairs = [(slot, waiting[slot].pop()) for slot in slots if waiting[slot]]
            hear(flows, [slot for slot, _ in pairs], [row for _, row in pairs], now_ns, has_parts=has_parts)
            for slot in {slot for slot, _ in pairs}:
                plain[slot].take([row for one, row in pairs if one == slot], now_ns)
            if rng.random() < 0.02:
                slot = rng.choice(left)
                flows.counting.interrupted(np.array([slot], np.int32))
                plain[slot].counting.interrupted = True
            now_ns += rng.choice([0, NS_PER_MS, 300 * NS_PER_MS, 600 * NS_PER_MS])
            if rng.random() < 0.3:
                flows.ledger.expire(now_ns, lambda slots: np.zeros(len(slots), np.int64), 0)
                for one in plain:
                    one.ledger.expire(now_ns)
            for slot, one in enumerate(plain):
                same(flows, slot, one)
            assert counts_agree(flows.ledger)
        for one in plain:
            seen["believed"] += one.counting.believed
            seen["duplicates"] += one.ledger.duplicates
            seen["lost"] += sum(one.ledger.lost_by_cause.values())

    holds()
    assert all(seen[figure] for figure in ("believed", "duplicates", "lost")), seen


def test_a_number_from_before_a_count_began_is_no_loss_of_those_after_it() -> None:
    flows = flows_of(NUMBERINGS["e131"], 1)
    for number in [*range(STREAK + 1), STREAK - 3, *range(STREAK + 1, STREAK + 9)]:
        hear(flows, [0], [Row(number)], START_NS, has_parts=False)
    flows.ledger.expire(START_NS + 9 * NS_PER_S, lambda slots: np.zeros(len(slots), np.int64), 0)
    assert flows.counting.believed[0]
    assert (flows.ledger.lost[0], flows.ledger.received[0]) == (0, STREAK + 10)
