"""Scans along slots agree with a walk, for any mixture of slots and links."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from support.plain_link import Fate, PlainLink
from udprism.columns.turns import Turns
from udprism.link.link import Link
from udprism.link.model import LinkModel

SLOTS = 4
values = st.integers(-(1 << 60), 1 << 60)


@given(st.lists(st.tuples(st.integers(0, SLOTS - 1), values, st.booleans()), min_size=1, max_size=40))
def test_scans_are_the_walk_along_each_slot(rows: list[tuple[int, int, bool]]) -> None:
    if not any(wanted for _, _, wanted in rows):
        return
    slots = np.array([slot for slot, _, _ in rows], np.int32)
    column = np.array([value for _, value, _ in rows], np.int64)
    turns = Turns(slots, np.array([wanted for _, _, wanted in rows], np.bool_))
    mine = column[turns.rows]
    largest, before, sums = (
        turns.max_until(mine),
        turns.before(mine, turns.slots.astype(np.int64)),
        turns.sum_before(mine >> 8),
    )
    seen: dict[int, list[int]] = {}
    for at, row in enumerate(turns.rows.tolist()):
        slot, value, wanted = rows[row]
        earlier = seen.setdefault(slot, [])
        assert wanted
        assert before[at] == (earlier[-1] if earlier else slot)
        assert sums[at] == sum(one >> 8 for one in earlier)
        earlier.append(value)
        assert largest[at] == max(earlier)
    by_slot = {
        slot: column[(slots == slot) & [wanted for _, _, wanted in rows]].tolist() for slot in turns.slots.tolist()
    }
    assert seen == by_slot
    assert {slot: mine[part].tolist() for slot, part in turns.each(np.arange(len(turns.slots)))} == by_slot
    assert mine[turns.last()].tolist() == [one[-1] for one in by_slot.values()]


ratio = st.sampled_from([0.0, 0.02, 0.3, 0.9])
links = st.fixed_dictionaries(
    {
        "loss_ratio": ratio,
        "burst": st.fixed_dictionaries(
            {
                "enter_ratio": st.sampled_from([0.0, 0.05, 0.5, 0.9, 1.0]),
                "leave_ratio": st.sampled_from([0.2, 0.6, 1.0]),
                "loss_ratio": st.sampled_from([0.5, 1.0]),
            }
        ),
        "delay_ms": st.sampled_from([0.0, 3.0, 50.0]),
        "jitter_ms": st.sampled_from([0.0, 4.0]),
        "distribution": st.sampled_from(["uniform", "normal", "pareto"]),
        "keep_order": st.booleans(),
        "duplicate_ratio": ratio,
        "corrupt_ratio": ratio,
        "rate_kbit_s": st.sampled_from([None, 50.0, 400.0, 100_000.0]),
        "queue_datagrams": st.sampled_from([1, 3, 20, 1000]),
        "mtu_bytes": st.sampled_from([None, 576, 1400]),
        "seed": st.integers(0, 1 << 53 - 1),
    }
)
bursts_of_rows = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, 1400)), min_size=1, max_size=30),
        st.integers(0, 30_000_000),
    ),
    min_size=1,
    max_size=6,
)


def _reorderable(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"reorder_ratio": 0.2} if body["delay_ms"] and not body["keep_order"] else body


@given(st.lists(links, min_size=SLOTS, max_size=SLOTS), bursts_of_rows, st.data())
def test_batches_meet_the_fates_of_a_walk_from_datagram_to_datagram(
    bodies: list[dict[str, Any]], batches: list[tuple[list[tuple[int, int]], int]], data: st.DataObject
) -> None:
    model, plain = LinkModel(SLOTS), []
    for slot, body in enumerate(bodies):
        link = Link.from_body(_reorderable(body))
        model.assign(np.array([slot], np.int32), link, np.array([slot + 9], np.uint64), header_bytes=48)
        plain.append(PlainLink(link, slot + 9, header_bytes=48))
    number, now_ns = [0] * SLOTS, 1_000_000
    for batch, apart_ns in batches:
        sequence, expected, enters = [], [], []
        for slot, size_bytes in batch:
            number[slot] += data.draw(st.sampled_from([0, 0, 0, 0, 2]))  # now and then some are left out
            now_ns += data.draw(st.sampled_from([0, 0, 1000, apart_ns]))
            sequence.append(number[slot])
            enters.append(now_ns)
            expected.append(plain[slot].judge(number[slot], size_bytes, now_ns))
            number[slot] += 1
        verdict = model.judge(
            np.array([slot for slot, _ in batch], np.int32),
            np.array(sequence, np.int64),
            np.array([size for _, size in batch], np.int32),
            np.array(enters, np.int64),
        )
        again_ns = np.where(verdict.duplicate, verdict.duplicate_release_ns, -1)
        columns = (
            verdict.dropped,
            verdict.release_ns,
            verdict.duplicate,
            again_ns,
            verdict.corrupt_bit,
            verdict.queue_full,
        )
        assert [Fate(*row) for row in zip(*(column.tolist() for column in columns), strict=True)] == expected
