"""The link model: each impairment by itself, their order, and that fates depend on nothing but what they should."""

from typing import Any

import numpy as np
import pytest

from udprism.link.link import Link, client_key
from udprism.link.model import ASK, LOST, PASSES, LinkModel, Verdict

MS = 1_000_000
CLIENTS = 50


def model_of(body: dict[str, Any], clients: int = CLIENTS, payload_at: int = 0) -> LinkModel:
    model = LinkModel(clients)
    keys = np.array([client_key(f"client-{i}") for i in range(clients)], np.uint64)
    model.assign(np.arange(clients, dtype=np.int32), Link.from_body(body), keys, payload_at=payload_at)
    return model


def judge(
    model: LinkModel, slots: list[int], sequence: list[int], size_bytes: int = 23, now_ns: int = 1_000_000
) -> Verdict:
    n = len(slots)
    return model.judge(
        np.array(slots, np.int32), np.array(sequence, np.int64), np.full(n, size_bytes, np.int32), now_ns
    )


def test_a_model_without_links_is_not_active() -> None:
    model = LinkModel(4)
    assert not model.active
    slots, keys = np.array([1, 2], np.int32), np.array([1, 2], np.uint64)
    model.assign(slots, Link.from_body({"loss_ratio": 0.1}), keys)
    assert model.active
    model.assign(slots[:1], None, keys[:1])
    assert model.active
    model.assign(slots[1:], Link.from_body({"seed": 3}), keys[1:])
    assert not model.active


def test_an_empty_batch_has_no_verdicts() -> None:
    assert len(judge(model_of({"loss_ratio": 0.5, "rate_kbit_s": 10, "keep_order": True}), [], []).dropped) == 0


def test_a_blackout_drops_everything_of_those_it_holds_for() -> None:
    model = model_of({}, 4)
    model.assign(np.array([1, 3], np.int32), Link.from_body({"blackout": True}), np.zeros(2, np.uint64))
    assert judge(model, [0, 1, 2, 3], [0, 0, 0, 0]).dropped.tolist() == [False, True, False, True]


@pytest.mark.parametrize("had_one_before", [False, True])
def test_a_link_holds_for_its_slots_alone(had_one_before: bool) -> None:
    everything = {
        "loss_ratio": 1, "burst": {"enter_ratio": 1, "leave_ratio": 0.1}, "delay_ms": 5, "jitter_ms": 5,
        "duplicate_ratio": 1, "corrupt_ratio": 1, "reorder_ratio": 0.5, "rate_kbit_s": 1,
    }  # fmt: skip
    model = LinkModel(2)
    keys = np.array([1], np.uint64)
    model.assign(np.array([0], np.int32), Link.from_body(everything), keys)
    if had_one_before:
        model.assign(np.array([1], np.int32), Link.from_body(everything), keys)
    model.assign(np.array([1], np.int32), None, keys)
    for sequence in range(20):
        verdict = judge(model, [0, 1], [sequence, sequence], now_ns=77)
        assert not verdict.dropped[1]
        assert verdict.release_ns[1] == 77
        assert not verdict.duplicate[1]
        assert verdict.corrupt_bit[1] == -1


def test_delay_without_jitter_is_the_same_for_all() -> None:
    verdict = judge(model_of({"delay_ms": 50}), [0, 1, 2], [0, 0, 9], now_ns=7)
    assert verdict.release_ns.tolist() == [7 + 50 * MS] * 3


def test_no_datagram_leaves_before_it_was_sent() -> None:
    model = model_of({"delay_ms": 1, "jitter_ms": 50, "distribution": "normal"})
    released = [judge(model, list(range(CLIENTS)), [s] * CLIENTS, now_ns=99).release_ns for s in range(20)]
    assert np.min(released) == 99


def test_a_dropped_datagram_would_have_left_after_the_delay() -> None:
    verdict = judge(model_of({"loss_ratio": 1, "delay_ms": 5}), [0], [0], now_ns=7)
    assert verdict.dropped.all()
    assert verdict.release_ns.tolist() == [7 + 5 * MS]


def test_reordered_datagrams_leave_at_once_and_the_others_wait() -> None:
    verdict = judge(model_of({"reorder_ratio": 0.5, "delay_ms": 50}), [0] * 200, list(range(200)), now_ns=7)
    assert set(verdict.release_ns.tolist()) == {7, 7 + 50 * MS}


def test_keep_order_never_lets_a_datagram_overtake() -> None:
    model = model_of({"delay_ms": 20, "jitter_ms": 20, "keep_order": True, "loss_ratio": 0.1})
    last = np.zeros(CLIENTS)
    for sequence in range(100):
        verdict = judge(model, list(range(CLIENTS)), [sequence] * CLIENTS, now_ns=sequence * MS)
        assert (verdict.release_ns >= last).all()
        last = np.where(verdict.dropped, last, verdict.release_ns)


def test_a_lost_datagram_holds_up_nobody() -> None:
    alone = model_of({"delay_ms": 20, "jitter_ms": 20, "keep_order": True}, 1)
    early, late = (int(judge(alone, [0], [s], now_ns=0).release_ns[0]) for s in (0, 1))
    lossy = model_of({"delay_ms": 20, "jitter_ms": 20, "keep_order": True, "loss_ratio": 1}, 1)
    own = [int(judge(lossy, [0], [s], now_ns=0).release_ns[0]) for s in range(30)]
    assert own[0] == early
    assert late == max(own[0], own[1])
    assert sorted(own) != own


def test_a_duplicate_has_a_delay_of_its_own_unless_order_is_kept() -> None:
    body = {"duplicate_ratio": 1, "delay_ms": 20, "jitter_ms": 10}
    verdict = judge(model_of(body), list(range(CLIENTS)), [0] * CLIENTS)
    assert verdict.duplicate.all()
    assert (verdict.duplicate_release_ns != verdict.release_ns).sum() > CLIENTS * 0.9
    ordered = judge(model_of({**body, "keep_order": True}), list(range(CLIENTS)), [0] * CLIENTS)
    assert (ordered.duplicate_release_ns == ordered.release_ns).all()


def test_what_is_lost_is_neither_doubled_nor_corrupted() -> None:
    verdict = judge(model_of({"loss_ratio": 1, "duplicate_ratio": 1, "corrupt_ratio": 1}), [0, 1], [0, 0])
    assert not verdict.duplicate.any()
    assert (verdict.corrupt_bit == -1).all()


@pytest.mark.parametrize(
    ("body", "payload_at", "size_bytes", "first_bit"),
    [
        ({"corrupt_ratio": 1}, 20, 23, 160),
        ({"corrupt_ratio": 1}, 20, 500, 160),
        ({"corrupt_ratio": 1, "corrupt_header": True}, 20, 23, 0),
        (
            {"corrupt_ratio": 1},
            0,
            21,
            0,
        ),  # a plain colour, or somebody else's protocol: nothing is known to be a header
        ({"corrupt_ratio": 1}, 20, 3, 0),
    ],
)
def test_corruption_flips_a_bit_of_the_payload_any_of_them(
    body: dict[str, Any], payload_at: int, size_bytes: int, first_bit: int
) -> None:
    bits = range(first_bit, size_bytes * 8)
    model = model_of(body, payload_at=payload_at)
    n = 40 * len(bits)
    flipped = judge(model, [0] * n, list(range(n)), size_bytes).corrupt_bit
    assert set(flipped.tolist()) == set(bits)


def test_nothing_of_an_empty_datagram_can_be_corrupted() -> None:
    assert judge(model_of({"corrupt_ratio": 1}), [0, 1], [0, 0], 0).corrupt_bit.tolist() == [-1, -1]


def test_the_rate_counts_the_headers_of_the_slots_own_family() -> None:
    # 2 bytes of payload and 48 of headers: 400 bits, 4 ms at 100 kbit/s.
    model = LinkModel(1)
    model.assign(np.zeros(1, np.int32), Link.from_body({"rate_kbit_s": 100}), np.zeros(1, np.uint64), header_bytes=48)
    assert judge(model, [0, 0], [0, 1], 2, now_ns=0).release_ns.tolist() == [0, 4 * MS]


def test_what_is_larger_than_the_mtu_with_its_headers_vanishes_and_nothing_else() -> None:
    model, both = LinkModel(3), np.arange(2, dtype=np.int32)
    headers = np.array([28, 48], np.int64)
    model.assign(both, Link.from_body({"mtu_bytes": 576}), np.zeros(2, np.uint64), header_bytes=headers)
    slots, sizes = np.array([0, 0, 1, 1, 2], np.int32), np.array([548, 549, 528, 529, 1400], np.int32)
    verdict = model.judge(slots, np.array([0, 1, 0, 1, 0]), sizes, 0)
    assert verdict.dropped.tolist() == [False, True, False, True, False]
    assert not verdict.queue_full.any()
    assert model.foresee(0, 0, 2) == bytes([ASK, ASK]), "it depends on the size"


def test_the_rate_lets_datagrams_leave_at_its_pace() -> None:
    # 22 bytes and 28 of headers: 400 bits, 4 ms at 100 kbit/s.
    model = model_of({"rate_kbit_s": 100}, 2)
    verdict = judge(model, [0, 0, 0, 1], [0, 1, 2, 0], 22, now_ns=5)
    assert verdict.release_ns.tolist() == [5, 5 + 4 * MS, 5 + 8 * MS, 5]
    assert judge(model, [0], [3], 22, now_ns=5 + 9 * MS).release_ns.tolist() == [5 + 12 * MS]
    assert judge(model, [0], [4], 22, now_ns=5 + 16 * MS).release_ns.tolist() == [5 + 16 * MS]


def test_delay_comes_on_top_of_the_queues_wait() -> None:
    verdict = judge(model_of({"rate_kbit_s": 100, "delay_ms": 30}, 1), [0, 0], [0, 1], 22, now_ns=0)
    assert verdict.release_ns.tolist() == [30 * MS, 34 * MS]


def test_a_full_queue_drops_the_newcomer() -> None:
    model = model_of({"rate_kbit_s": 100, "queue_datagrams": 2}, 1)
    # One is on its way, two wait, the rest finds no place.
    verdict = judge(model, [0] * 5, list(range(5)), 22, now_ns=0)
    assert verdict.dropped.tolist() == verdict.queue_full.tolist() == [False] * 3 + [True] * 2
    # After 4 ms the first of those who wait has left.
    assert judge(model, [0] * 2, [5, 6], 22, now_ns=4 * MS).dropped.tolist() == [False, True]


def test_what_was_lost_before_the_queue_takes_no_place_in_it() -> None:
    model = model_of({"rate_kbit_s": 100, "loss_ratio": 0.5}, 1)
    verdict = judge(model, [0] * 100, list(range(100)), 22, now_ns=0)
    left = verdict.release_ns[~verdict.dropped]
    assert left.tolist() == [i * 4 * MS for i in range(len(left))]


@pytest.mark.parametrize(
    "body", [{"queue_datagrams": 2}, {"loss_ratio": 0.5}, {"queue_datagrams": 2, "keep_order": True}]
)
def test_what_is_dropped_is_told_in_its_turn(body: dict[str, Any]) -> None:
    verdict = judge(model_of({"rate_kbit_s": 100, "delay_ms": 5, **body}, 1), [0] * 20, list(range(20)), now_ns=0)
    assert 0 < verdict.dropped.sum() < 20
    assert (np.diff(verdict.release_ns) >= 0).all()


def test_reordered_datagrams_pass_the_queue_by() -> None:
    model = model_of({"rate_kbit_s": 100, "delay_ms": 1, "reorder_ratio": 1}, 1)
    assert judge(model, [0] * 10, list(range(10)), 22, now_ns=3).release_ns.tolist() == [3] * 10


def test_reordered_datagrams_take_no_place_in_the_queue() -> None:
    model = model_of({"rate_kbit_s": 100, "delay_ms": 1, "reorder_ratio": 0.5}, 1)
    release_ns = judge(model, [0] * 40, list(range(40)), 22, now_ns=0).release_ns
    waited = release_ns[release_ns > 0]
    assert 0 < len(waited) < 40
    assert waited.tolist() == [(1 + 4 * place) * MS for place in range(len(waited))]


def test_a_new_link_begins_with_an_empty_queue() -> None:
    model = model_of({"rate_kbit_s": 1}, 1)
    judge(model, [0] * 10, list(range(10)), 22, now_ns=0)
    model.assign(np.zeros(1, np.int32), Link.from_body({"rate_kbit_s": 1000}), np.zeros(1, np.uint64))
    assert judge(model, [0], [10], 22, now_ns=1).release_ns.tolist() == [1]


STATELESS = {
    "loss_ratio": 0.2, "delay_ms": 30, "jitter_ms": 10, "distribution": "pareto", "reorder_ratio": 0.1,
    "duplicate_ratio": 0.1, "corrupt_ratio": 0.1, "seed": 42,
}  # fmt: skip
BURSTS = {**STATELESS, "loss_ratio": 0.01, "burst": {"enter_ratio": 0.05, "leave_ratio": 0.2, "loss_ratio": 0.9}}

Fates = dict[tuple[int, int], tuple[Any, ...]]


def fates(model: LinkModel, batches: list[list[tuple[int, int]]], *, start_ns: int = 0) -> Fates:
    """Fate by (slot, sequence); each batch is sent 5 ms after the one before it."""
    found: Fates = {}
    for number, batch in enumerate(batches):
        now_ns = start_ns + number * 5 * MS
        verdict = judge(model, [slot for slot, _ in batch], [sequence for _, sequence in batch], now_ns=now_ns)
        for row, datagram in enumerate(batch):
            found[datagram] = (
                bool(verdict.dropped[row]),
                int(verdict.release_ns[row]) - now_ns,
                bool(verdict.duplicate[row]),
                int(verdict.duplicate_release_ns[row]) - now_ns,
                int(verdict.corrupt_bit[row]),
            )
    return found


def in_ticks(clients: int, sequences: int) -> list[list[tuple[int, int]]]:
    return [[(slot, sequence) for slot in range(clients)] for sequence in range(sequences)]


@pytest.mark.parametrize("body", [STATELESS, BURSTS], ids=["stateless", "bursts"])
def test_the_same_numbers_meet_the_same_fates_however_they_are_batched(body: dict[str, Any]) -> None:
    clients, sequences = 20, 100
    ticks = in_ticks(clients, sequences)
    expected = fates(model_of(body), ticks)
    assert len({fate[0] for fate in expected.values()}) == 2

    everything = [row for tick in ticks for row in tick]
    assert fates(model_of(body), [everything]) == expected
    assert fates(model_of(body), [[row] for row in everything[: clients * 10]]).items() <= expected.items()

    rng = np.random.default_rng(3)
    queues = [[(slot, sequence) for sequence in range(sequences)] for slot in range(clients)]
    ragged = []
    while any(queues):
        batch = [row for slot in rng.permutation(clients) for row in queues[slot][: rng.integers(0, 4)]]
        for slot, _ in batch:
            queues[slot].pop(0)
        if batch:
            ragged.append(batch)
    assert fates(model_of(body), ragged, start_ns=123_456_789) == expected


@pytest.mark.parametrize("body", [STATELESS, BURSTS], ids=["stateless", "bursts"])
def test_a_link_that_is_set_later_gives_the_same_fates_from_then_on(body: dict[str, Any]) -> None:
    ticks = in_ticks(20, 400)
    expected = fates(model_of(body), ticks)
    late = fates(model_of(body), ticks[300:])
    assert late.items() <= expected.items()


def test_a_new_seed_has_its_own_bursts_from_the_next_datagram_on() -> None:
    body = {"burst": {"enter_ratio": 0.03, "leave_ratio": 0.03}}
    ticks = in_ticks(CLIENTS, 120)
    expected = fates(model_of({**body, "seed": 2}), ticks)
    model = model_of({**body, "seed": 1})
    fates(model, ticks[:100])
    slots = np.arange(CLIENTS, dtype=np.int32)
    keys = np.array([client_key(f"client-{i}") for i in range(CLIENTS)], np.uint64)
    model.assign(slots, Link.from_body({**body, "seed": 2}), keys)
    assert fates(model, ticks[100:]).items() <= expected.items()


def test_a_gap_in_the_numbers_does_not_change_the_fates_after_it() -> None:
    ticks = in_ticks(20, 300)
    expected = fates(model_of(BURSTS), ticks)
    assert fates(model_of(BURSTS), ticks[::7]).items() <= expected.items()


def test_fates_do_not_depend_on_the_slot_but_on_the_clients_key() -> None:
    model = LinkModel(40)
    key = np.array([client_key("client-7")], np.uint64)
    model.assign(np.array([33], np.int32), Link.from_body(BURSTS), key)
    moved = fates(model, [[(33, sequence)] for sequence in range(100)])
    usual = fates(model_of(BURSTS), [[(7, sequence)] for sequence in range(100)])
    assert list(moved.values()) == list(usual.values())


def test_another_seed_another_client_and_another_number_mean_other_fates() -> None:
    def dropped(seed: int, client: int, start: int) -> list[bool]:
        model = model_of({"loss_ratio": 0.5, "seed": seed})
        return judge(model, [client] * 64, list(range(start, start + 64))).dropped.tolist()

    usual = dropped(1, 0, 0)
    assert usual == dropped(1, 0, 0)
    others = [dropped(2, 0, 0), dropped(1 << 40, 0, 0), dropped(1, 1, 0), dropped(1, 0, 64), dropped(1, 0, 1 << 32)]
    assert all(usual != other for other in others)


def test_todays_fates_are_next_years() -> None:
    body = {**BURSTS, "distribution": "uniform"}  # the other two go through the machine's own logarithms and powers
    verdict = judge(model_of(body, payload_at=20), [7] * 48, list(range(48)), now_ns=0)
    assert np.flatnonzero(verdict.dropped).tolist() == [0, 33, 34]
    assert np.flatnonzero(verdict.duplicate).tolist() == [44, 45, 47]
    corrupt = np.flatnonzero(verdict.corrupt_bit >= 0)
    assert corrupt.tolist() == [8, 9, 22, 24, 31, 35]
    assert verdict.corrupt_bit[corrupt].tolist() == [180, 168, 171, 170, 179, 181]
    assert verdict.release_ns[:4].tolist() == [0, 27346192, 21403809, 35183105]


def test_how_long_a_link_delays_and_whether_it_holds_anything_back_is_known_of_each_slot() -> None:
    model = LinkModel(4)
    for slot, body in enumerate(({"delay_ms": 40}, {"jitter_ms": 3}, {"rate_kbit_s": 9}, {"loss_ratio": 0.5})):
        model.assign(np.array([slot], np.int32), Link.from_body(body), np.zeros(1, np.uint64))
    slots = np.arange(4, dtype=np.int32)
    assert model.delay_ns(slots).tolist() == [40 * MS, 0, 0, 0]
    assert model.holds(slots).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    "body",
    [
        {"loss_ratio": 0.3},
        {"burst": {"enter_ratio": 0.2, "leave_ratio": 0.3}},
        {"loss_ratio": 0.1, "duplicate_ratio": 0.2, "corrupt_ratio": 0.2},
        {"blackout": True},
    ],
)
def test_what_is_foreseen_happens_and_foreseeing_changes_nothing(body: dict[str, Any]) -> None:
    model, count = model_of(body), 200
    for number in range(7):
        judge(model, [3], [number])
    foreseen = model.foresee(3, 7, count)
    assert model.foresee(3, 7, count) == foreseen
    verdict = judge(model, [3] * count, list(range(7, 7 + count)))
    for number, fate in enumerate(foreseen):
        whole = not (verdict.duplicate[number] or verdict.corrupt_bit[number] >= 0)
        assert fate == (LOST if verdict.dropped[number] else PASSES if whole else ASK)


@pytest.mark.parametrize("body", [{"delay_ms": 1}, {"jitter_ms": 1}, {"rate_kbit_s": 9}])
def test_what_depends_on_time_cannot_be_foreseen(body: dict[str, Any]) -> None:
    assert model_of(body).foresee(0, 0, 3) == bytes([ASK] * 3)
