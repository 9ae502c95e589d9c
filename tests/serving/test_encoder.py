"""The colours of one tick: each session gets its own next number, and a datagram of its own shape."""

from __future__ import annotations

from itertools import count

import numpy as np

from udprism.columns.arrivals import SOCKADDR_BYTES
from udprism.columns.types import I32Column
from udprism.serving.commands import Connect
from udprism.serving.encoder import Encoder
from udprism.serving.sessions import ServiceTerms, SessionTable
from udprism.wire import measured as wire
from udprism.wire.colours import nearest_name

NOWHERE = np.zeros(SOCKADDR_BYTES, np.uint8)
SENT_NS = 5_000


def table_of(*commands: Connect) -> tuple[SessionTable, I32Column]:
    ids = count(1)
    table = SessionTable(len(commands), 10, 4, lambda: next(ids))
    terms = ServiceTerms("loopback", None, None)
    served = [
        table.connect(("127.0.0.1", port), NOWHERE, 0, one, terms, 0, 0) for port, one in enumerate(commands, 5000)
    ]
    return table, np.array([one[0] for one in served if one is not None], np.int32)


def sent(encoder: Encoder, slots: I32Column, now_ns: int = 0) -> dict[int, bytes]:
    """What leaves, by slot; stamped as it does."""
    found: dict[int, bytes] = {}
    for which, out in encoder.batches(slots, now_ns):
        assert slots[which].tolist() == out.flow.tolist()
        if out.stamp is not None:
            out.stamp(out.rows, SENT_NS)
        for slot, row, length in zip(out.flow.tolist(), out.rows, out.length.tolist(), strict=True):
            assert slot not in found
            found[slot] = row[:length].tobytes()
    return found


def test_each_shape_gets_datagrams_of_its_own_and_each_session_its_own_numbers() -> None:
    wide, plain = Connect(measured=True, colours=3, palette="rgb"), Connect(line_feed=True)
    table, slots = table_of(Connect(measured=True), wide, plain, wide)
    encoder = Encoder(table, np.random.default_rng(1), 100)
    sent(encoder, slots[:1])
    found = sent(encoder, slots)
    colours = [wire.decode_datagram(found[slot]) for slot in (0, 1, 3)]
    heads = [(one.session_id, one.sequence, one.sent_at_unix_ns) for one in colours if isinstance(one, wire.Colour)]
    assert heads == [(1, 1, SENT_NS), (2, 0, SENT_NS), (4, 0, SENT_NS)]
    assert [len(found[slot]) for slot in (0, 1, 3)] == [23, 29, 29]
    assert found[1][20:] != found[3][20:], "colours of its own for each"
    assert found[2].endswith(b"\n")
    assert nearest_name(table.recent.newest(2, int(table.next_sequence[2]))) == found[2].strip().decode()
    assert encoder.made == 5
    assert table.next_sequence.tolist() == [2, 1, 1, 1]


def test_a_tick_of_many_is_cut_into_batches_of_one_shape_that_share_their_rows() -> None:
    one, other = Connect(measured=True), Connect(measured=True, colours=2)
    table, slots = table_of(one, one, one)
    encoder = Encoder(table, np.random.default_rng(1), 2)
    assert [len(out.flow) for _, out in encoder.batches(slots, 0)] == [2, 1]
    table, slots = table_of(one, other, one, other, one)
    encoder = Encoder(table, np.random.default_rng(1), 2)
    batches = [(out.flow.tolist(), out.rows.shape) for _, out in encoder.batches(slots, 0)]
    assert batches == [([0, 2], (2, 23)), ([4], (1, 23)), ([1, 3], (2, 26))]


def test_a_plain_stream_is_made_of_the_names_of_its_palette() -> None:
    table, slots = table_of(*[Connect()] * 40)
    found = sent(Encoder(table, np.random.default_rng(1), 100), slots)
    assert set(found.values()) == {b"red", b"green", b"blue", b"yellow", b"purple", b"orange"}
