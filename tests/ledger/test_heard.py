"""The flows that receivers hear: what becomes of them as time passes. With datagrams: `udp/test_receiver_endpoint`."""

from __future__ import annotations

import numpy as np

from support.ledgers import UNIX_NS
from udprism.columns.arrivals import SOCKADDR_BYTES, Arrivals
from udprism.columns.types import NS_PER_S
from udprism.ledger.heard import FlowState, Heard, HeardFlows
from udprism.ledger.history import History
from udprism.ledger.ledger import Ledger
from udprism.ledger.newest import KEPT, Newest
from udprism.ledger.pictures import LOOKED_AT_FOR_NS, MAX_PICTURES, Pictures
from udprism.wire.formats import FORMATS

CAPACITY, WIDTH = 4, 64
ARTNET = FORMATS["artnet"]


def flows_of(*names: str, form: str = "artnet") -> HeardFlows:
    ledger = Ledger(CAPACITY, window=64, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
    flows = HeardFlows(CAPACITY, ledger, History(CAPACITY, 64), width=WIDTH, silent_after_ns=2 * NS_PER_S)
    for number, name in enumerate(names):
        flows.add(Heard(name, "p-1", FORMATS[form], name, "127.0.0.1:5000", "", 0), number * NS_PER_S)
    return flows


def art_dmx(number: int, red: int = 9) -> bytes:
    """An ArtDmx of six slots to universe 0."""
    return b"Art-Net\0\0\x50\0\x0e" + bytes([number, 0, 0, 0, 0, 6, red, 8, 7, 6, 5, 4])


def hear(flows: HeardFlows, slot: int, *datagrams: bytes, now_ns: int) -> None:
    """One batch of a flow's datagrams, all of a moment."""
    rows = np.zeros((len(datagrams), WIDTH), np.uint8)
    for row, data in zip(rows, datagrams, strict=True):
        row[: len(data)] = np.frombuffer(data, np.uint8)
    length = np.array([len(data) for data in datagrams], np.int32)
    slots, form = np.full(len(datagrams), slot, np.int32), flows.flows[slot].form
    stamp = np.full(len(datagrams), UNIX_NS + now_ns)
    arrivals = Arrivals(slots, stamp, length, rows, np.zeros((len(datagrams), SOCKADDR_BYTES), np.uint8))
    flows.account(slots, arrivals, form.decode(rows, length), form.payload_at, now_ns)


def test_a_removed_flow_is_forgotten_and_its_slot_is_the_next_one_s() -> None:
    flows = flows_of("a", "b")
    flows.pictures.look(0, ARTNET, 0)
    version = flows.roster_version
    flows.remove(0)
    assert (list(flows.flows), flows.slot_of_id, flows.state[0]) == ([1], {"b": 1}, FlowState.FREE)
    assert list(flows.removals) == [(version + 1, 0)]
    assert not flows.pictures.any
    assert flows.add(Heard("c", "p-1", ARTNET, "", "", "", 0), 0) == 0
    assert (flows.high, flows.is_full) == (2, False)


def test_the_idlest_flow_and_those_that_fell_silent_are_found_among_those_in_use() -> None:
    flows = flows_of("a", "b", "c")
    flows.remove(0)
    assert flows.idlest() == 1
    assert flows.silent_since(2 * NS_PER_S) == [1]
    hear(flows, 1, art_dmx(1), now_ns=3 * NS_PER_S)
    assert (flows.idlest(), flows.silent_since(3 * NS_PER_S)) == (2, [2])


def test_a_believed_flow_s_missing_numbers_are_lost_once_all_that_came_was_read() -> None:
    flows = flows_of("a")
    for number in range(1, 40):
        hear(flows, 0, art_dmx(number), now_ns=number * NS_PER_S // 40)
    hear(flows, 0, art_dmx(43), now_ns=NS_PER_S)
    late_ns = 9 * NS_PER_S
    flows.sweep(late_ns, UNIX_NS + late_ns, has_read_all=False)
    assert flows.ledger.lost[0] == 0
    flows.sweep(late_ns, UNIX_NS + late_ns)
    assert flows.ledger.lost[0] == 3
    fates = [row["fate"] for row in flows.datagrams_kept(0, 5)]
    assert fates == ["received", "lost", "lost", "lost", "received"]
    assert flows.state[0] == FlowState.SILENT


def test_a_table_without_flows_has_nothing_to_sweep() -> None:
    flows = flows_of()
    flows.sweep(NS_PER_S, UNIX_NS)
    assert flows.high == 0


def test_nothing_of_an_empty_datagram_is_kept_but_that_it_came() -> None:
    newest = Newest(1, 8)
    slot, rows = np.zeros(1, np.int32), np.full((1, 8), 7, np.uint8)
    for length in (0, 3, 99, 0, 2):
        newest.record(slot, 0, np.array([length], np.int32), rows)
    assert [len(data) for data in newest.of(0)] == [3, 8, 0, 2]
    assert newest.sizes(0) == [3, 99, 0, 2]
    assert len(newest.of(0)) == KEPT


def test_pictures_are_kept_while_somebody_looks_and_of_too_many_the_least_wanted_goes() -> None:
    newest = Newest(MAX_PICTURES + 1, WIDTH)
    pictures = Pictures(newest)
    rows = np.zeros((1, WIDTH), np.uint8)
    rows[0, :24] = np.frombuffer(art_dmx(1), np.uint8)
    newest.record(np.zeros(1, np.int32), 0, np.full(1, 24, np.int32), rows)
    assert pictures.look(0, ARTNET, 5).values.tolist() == [9, 8, 7, 6, 5, 4]
    assert pictures.look(1, ARTNET, 1).values.tolist() == []
    for slot in range(2, MAX_PICTURES + 1):
        pictures.look(slot, ARTNET, 10)
    rows[0, 18] = 200
    pictures.feed(np.array([0], np.int32), rows, np.array([24], np.int32))
    assert pictures.look(0, ARTNET, 10).values[0] == 200, "slot 1 had to go, not this one"
    pictures.forget_unwatched(10 + LOOKED_AT_FOR_NS)
    assert pictures.any
    pictures.forget(0)
    pictures.forget_unwatched(11 + LOOKED_AT_FOR_NS)
    assert not pictures.any
