"""Which numbers are believed, and what they become: by real senders' captures, and against a plain twin."""

from __future__ import annotations

import numpy as np
import pytest

from peers import golden
from support import plain_flow
from support.plain_flow import PlainCounting, Row
from udprism.ledger.counting import STREAK, Counting
from udprism.wire.format import Decoded, Numbering
from udprism.wire.formats import FORMATS

SACN, ARTNET, DDP = Numbering(256, 0), Numbering(255, 1), Numbering(15, 1)


def decoded(number: list[int], part: list[int] | None = None, numbered: list[bool] | None = None) -> Decoded:
    rows = [Row(one, at) for one, at in zip(number, part or [0] * len(number), strict=True)]
    batch = plain_flow.decoded(rows, has_parts=part is not None)
    if numbered is not None:
        batch.numbered = np.array(numbered)
    return batch


class Sender:
    """One flow, batch by batch."""

    def __init__(self, numbering: Numbering) -> None:
        self.counting = Counting(2)
        self.counting.begin(0, numbering)

    def send(self, *number: int, part: list[int] | None = None) -> list[int | None]:
        """The sequence of each row, None for one that does not count."""
        found = self.counting.count(np.zeros(len(number), np.int32), decoded(list(number), part))
        self.begun = found.begun.tolist()
        pairs = zip(found.sequence.tolist(), found.counts.tolist(), strict=True)
        return [one if counts else None for one, counts in pairs]

    @property
    def word(self) -> str | None:
        return self.counting.word(0)


def believed(numbering: Numbering, upto: int = STREAK) -> Sender:
    """A sender that has just become one; its last number is that of datagram `upto`."""
    sender = Sender(numbering)
    assert sender.send(*[numbering.at(count) for count in range(upto + 1)]) == [None] * (upto + 1)
    assert (sender.word, sender.begun) == ("believed", [0])
    return sender


@pytest.mark.parametrize("numbering", [SACN, ARTNET, DDP, Numbering(1 << 16, 0)])
@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_a_sender_is_believed_after_32_steps_of_one_and_its_numbers_never_wrap(
    numbering: Numbering, at_once: int
) -> None:
    sender, found = Sender(numbering), []
    numbers = [numbering.at(count) for count in range(1000)]
    for begin in range(0, 1000, at_once):
        found += sender.send(*numbers[begin : begin + at_once])
    known = [one for one in found if one is not None]
    assert known == list(range(len(known)))
    assert len(known) >= 1000 - STREAK - at_once
    assert sender.word == "believed"


@pytest.mark.parametrize("numbering", [SACN, ARTNET, DDP])
def test_what_is_late_is_late_and_not_new_over_the_wrap(numbering: Numbering) -> None:
    sender = believed(numbering)

    def at(count: int) -> int:
        return numbering.at(STREAK + 1 + count)

    assert sender.send(at(0), at(1), at(4)) == [0, 1, 4]
    assert sender.send(at(2)) == [2]
    assert sender.send(at(3), at(5), at(5)) == [3, 5, 5]
    last = numbering.modulus
    for count in range(6, last + 3):
        assert sender.send(at(count)) == [count]
    assert sender.send(at(last), at(last + 3)) == [last, last + 3]


def test_a_first_number_of_zero_proves_nothing() -> None:
    sender = Sender(ARTNET)
    found = sender.counting.count(np.zeros(1, np.int32), decoded([0], numbered=[False]))
    assert not found.counts.any()
    assert sender.word == "not yet known"
    sender.send(*range(1, STREAK + 2))
    assert sender.word == "believed"


@pytest.mark.parametrize(
    "numbers", [[7] * 100, [1 + 3 * count % 255 for count in range(100)], [1, 2] * 50, list(range(100, 0, -1))]
)
def test_numbers_that_do_not_advance_by_one_are_never_loss(numbers: list[int]) -> None:
    sender = Sender(ARTNET)
    assert sender.send(*numbers) == [None] * len(numbers)
    assert sender.word == "does not count"


def test_a_believed_sender_that_goes_astray_is_not_believed_any_more() -> None:
    sender = believed(SACN)
    sender.send(*[(40 + 3 * count) % 256 for count in range(70)])
    assert sender.word == "does not count"
    sender.send(*[(250 + count) % 256 for count in range(STREAK + 2)])
    assert sender.word == "believed"


def test_half_of_a_senders_datagrams_may_be_lost_and_it_is_still_believed() -> None:
    sender = believed(SACN)
    rng = np.random.default_rng(3)
    kept = [count for count in range(1, 2000) if rng.random() < 0.5]
    found = [one for count in kept for one in sender.send((STREAK + count) % 256)]
    assert found == [count - 1 for count in kept]


def test_a_frame_in_several_parts_under_one_number_advances_once() -> None:
    sender = Sender(DDP)
    for count in range(STREAK + 1):
        sender.send(DDP.at(count), DDP.at(count), part=[0, 1440])
    assert sender.word == "believed"
    after = [DDP.at(STREAK + 1), DDP.at(STREAK + 1), DDP.at(STREAK + 2), DDP.at(STREAK + 2)]
    assert sender.send(*after, part=[0, 1440, 0, 1440]) == [0, None, 1, None]
    assert sender.send(after[-1], after[-1], part=[1440, 0]) == [1, 1], "the same part again is a duplicate"


def test_after_an_interruption_any_number_is_the_next_one() -> None:
    sender = believed(SACN)
    assert sender.send(STREAK + 1) == [0]
    sender.counting.interrupted(np.array([0], np.int32))
    assert sender.send(7) == [None]
    assert sender.begun == [0]
    assert sender.send(8, 9) == [0, 1]


def test_a_sender_that_counts_anew_is_followed_after_eight_numbers() -> None:
    sender = believed(SACN)
    sender.send(*range(STREAK + 1, 201))
    found = [one for number in range(150, 170) for one in sender.send(number)]
    assert found[:8].count(None) <= 1
    assert [one for one in found if one is not None][-5:] == list(range(6, 11))


EXPECTED = {
    "sacn-changes": {"believed"},
    "sacn-priorities": {"believed"},
    "npm-sacn-changes": {"believed"},
    "pyartnet-sacn": {"believed"},
    "dmxnet-numbers": {"believed"},
    "npartnet-changes": {"believed"},
    "aioartnet-numbers": {"believed"},
    "ola-artnet-numbers": {"believed"},
    "ledfx-ddp": {"believed"},
    "python-led-ddp": {"believed"},
    "ffmpeg-mjpeg": {"believed"},
    "stupidartnet-numbers": {"does not count"},
    "pyartnet-artnet": {"does not count"},
    "ledfx-artnet": {"does not count"},
    "ledfx-drgb": {None},
}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("at_once", [1, 50])
def test_real_senders_are_believed_or_not_and_none_of_them_lost_anything(name: str, at_once: int) -> None:
    caught = golden.read(name) * (4 if name == "stupidartnet-numbers" else 1)  # it is short
    forms = {form.port: form for form in FORMATS.values() if form.port}
    (form,) = {forms[one.port] for one in caught if one.port in forms}
    datagrams = [one.data for one in caught if one.port == form.port]
    rows = np.zeros((len(datagrams), 2048), np.uint8)
    for row, data in zip(rows, datagrams, strict=True):
        row[: len(data)] = np.frombuffer(data, np.uint8)
    length = np.array([len(data) for data in datagrams], np.int32)
    counting, slot_of = Counting(64), dict[int, int]()
    seen: dict[int, list[int]] = {}
    for begin in range(0, len(rows), at_once):
        part = form.decode(rows[begin : begin + at_once], length[begin : begin + at_once])
        part = part.only(np.flatnonzero(part.valid))
        for key in part.key.tolist():
            if key not in slot_of:
                slot_of[key] = len(slot_of)
                counting.begin(slot_of[key], form.numbering)
        slot = np.array([slot_of[key] for key in part.key.tolist()], np.int32)
        found = counting.count(slot, part)
        for one, sequence in zip(slot[found.counts].tolist(), found.sequence[found.counts].tolist(), strict=True):
            seen.setdefault(one, []).append(sequence)
    words = {
        counting.word(slot) for slot in slot_of.values() if counting.numbers[slot] > STREAK or not form.numbering[0]
    }
    assert words == EXPECTED[name]
    for sequences in seen.values():
        assert sequences == list(range(len(sequences)))


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("modulus", [15, 255, 256, 65_536])
@pytest.mark.parametrize("seed", range(4))
def test_columns_count_as_the_plain_twin_does(modulus: int, seed: int, once: bool) -> None:
    rng = np.random.default_rng(seed)
    flows = 5
    counting = Counting(flows)
    for slot in range(flows):
        counting.begin(slot, Numbering(modulus, 0))
    twins = [PlainCounting(modulus) for _ in range(flows)]
    number = rng.integers(0, modulus, flows)
    steps = np.array([1, 2, 0, -1, -2, 3, int(modulus * 0.7)])
    for _ in range(3000):
        slot = int(rng.integers(flows))
        share = 0.9 if rng.random() < 0.9 else 0.3
        chance = np.array([share, *[(1 - share) / 6] * 6])
        number[slot] = (number[slot] + int(rng.choice(steps, p=chance))) % modulus
        one = int(number[slot])
        found = counting.count(np.array([slot], np.int32), decoded([one]), once=once)
        (expected,) = twins[slot].take([Row(one)])
        assert (int(found.sequence[0]) if found.counts[0] else None) == expected
        assert bool(counting.believed[slot]) == twins[slot].believed


@pytest.mark.parametrize("seed", range(4))
def test_batches_count_as_single_rows_do_where_no_flow_begins_anew(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flows, rows = 6, 4000
    slot = rng.integers(0, flows, rows).astype(np.int32)
    count = np.zeros(flows, np.int64)
    number = []
    for one in slot.tolist():
        clean = count[one] < 2 * STREAK
        count[one] += 1 if clean or rng.random() < 0.95 else rng.integers(2, 5)
        number.append(int(count[one] % 256) if clean or rng.random() < 0.98 else int((count[one] - 3) % 256))
    columns = []
    for at_once in (1, 333):
        counting, sequence, counts = Counting(flows), [], []
        for one in range(flows):
            counting.begin(one, SACN)
        for begin in range(0, rows, at_once):
            part = slice(begin, begin + at_once)
            found = counting.count(slot[part], decoded(number[part]))
            sequence += found.sequence.tolist()
            counts += found.counts.tolist()
        columns.append((np.array(sequence), np.array(counts), counting.top.copy(), counting.believed.copy()))
    single, batch = columns
    assert batch[3].all()
    assert single[3].all()
    for one in range(flows):
        mine = single[1] & batch[1] & (slot == one)
        assert mine.sum() > 300
        assert len(set((single[0] - batch[0])[mine].tolist())) == 1, "the same but for where the count began"
