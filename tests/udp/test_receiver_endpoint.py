"""What real senders send, as a receiver hears it: who they are, what state they are in, and what is said of them.

The captures of tests/golden/senders are handed to the endpoint in batches, at the times at which they were caught.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest

from peers import golden
from udprism.columns.arrivals import Arrivals
from udprism.columns.types import NEVER_NS, NS_PER_MS, NS_PER_S
from udprism.ledger.heard import FlowState, Heard, HeardFlows
from udprism.ledger.history import History
from udprism.ledger.ledger import Ledger
from udprism.node.bodies.receivers import flow_body
from udprism.node.heard_view import attention_of, snapshot
from udprism.node.receiver_plan import ReceiverPlan
from udprism.udp.endpoints.art_poll import ArtPolls
from udprism.udp.endpoints.receiver import ReceiverEndpoint
from udprism.udp.networks import own_networks
from udprism.udp.peers import Peers
from udprism.udp.sockets import sockaddr_row
from udprism.wire.artnet import Artnet
from udprism.wire.formats import FORMATS

START_NS = 1_700_000_000 * NS_PER_S
WIDTH = 2048
CAPACITY = 64
FRAME = next(one.data for one in golden.read("ola-artnet") if one.data[8:10] == b"\x00\x50")
"""An ArtDmx of OLA's."""


@dataclass
class Ear:
    """A receiver without a loop: what it hears comes from a test, and so does its time."""

    endpoint: ReceiverEndpoint
    flows: HeardFlows
    now_ns: int = field(default=0)

    def hear(self, *datagrams: bytes, source: tuple[str, int] = ("127.0.0.1", 5000), at_ns: int | None = None) -> None:
        """One batch, all from one sender at one time."""
        self.now_ns = self.now_ns if at_ns is None else at_ns
        rows = np.full((len(datagrams), WIDTH), 0xAA, np.uint8)
        for row, data in zip(rows, datagrams, strict=True):
            row[: len(data)] = np.frombuffer(data, np.uint8)[:WIDTH]
        name = sockaddr_row(source, socket.AF_INET)
        count = len(datagrams)
        arrivals = Arrivals(
            np.zeros(count, np.int32),
            np.full(count, START_NS + self.now_ns),
            np.array([len(data) for data in datagrams], np.int32),
            rows,
            np.broadcast_to(name, (count, len(name))),
        )
        self.endpoint.take(arrivals, self.now_ns)

    def sweep(self, at_ns: int) -> None:
        """Let time pass until then."""
        self.now_ns = at_ns
        self.flows.sweep(at_ns, START_NS + at_ns)

    def states(self) -> list[str]:
        return [FlowState(int(self.flows.state[slot])).word for slot in self.flows.flows]

    @property
    def heard(self) -> list[Heard]:
        return list(self.flows.flows.values())


def ear(form: str, clock_hz: int | None = None) -> Iterator[Ear]:
    plan = ReceiverPlan.asked(None, form, None, clock_hz=clock_hz)
    ledger = Ledger(CAPACITY, window=256, loss_after_ns=NS_PER_S, loss_after_arrivals=64)
    flows = HeardFlows(CAPACITY, ledger, History(CAPACITY, 256), width=WIDTH, silent_after_ns=2 * NS_PER_S)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        peers = Peers(CAPACITY, np.random.default_rng(1))
        names = iter(f"f-{number}" for number in range(1000))
        polls = ArtPolls(sock, own_networks) if form == Artnet.name else None
        endpoint = ReceiverEndpoint("p-1", plan.form, sock, flows, peers, names.__next__, list, polls)
        endpoint.heard_as(sock, 0)
        yield Ear(endpoint, flows)


@pytest.fixture
def artnet() -> Iterator[Ear]:
    yield from ear("artnet")


@pytest.fixture
def e131() -> Iterator[Ear]:
    yield from ear("e131")


@pytest.fixture
def ddp() -> Iterator[Ear]:
    yield from ear("ddp")


@pytest.fixture
def rtp() -> Iterator[Ear]:
    yield from ear("rtp")


@pytest.fixture
def rtp_at_90_khz() -> Iterator[Ear]:
    yield from ear("rtp", 90_000)


def play(listener: Ear, name: str, until_ns: int = NEVER_NS) -> None:
    """A capture, datagram by datagram, with a sweep at each quarter of a second; only what came to our port."""
    caught = [one for one in golden.read(name) if one.at_ns < until_ns]
    port = listener.endpoint.form.port
    swept_ns = 0
    for one in caught:
        while swept_ns + NS_PER_S // 4 <= one.at_ns:
            swept_ns += NS_PER_S // 4
            listener.sweep(swept_ns)
        if one.port == port:
            listener.hear(one.data, at_ns=one.at_ns)


def test_a_goodbye_that_is_sent_three_times_is_one_end_per_universe(e131: Ear) -> None:
    play(e131, "ola-sacn")
    assert {flow.ends for flow in e131.heard} == {1}
    assert set(e131.states()) == {"ended"}


def test_a_flow_that_goes_on_after_its_goodbye_is_live_again_and_may_end_again(e131: Ear) -> None:
    data = bytearray(next(one.data for one in golden.read("ola-sacn") if not one.data[112] & 0x40))
    end = bytes(data[:112] + bytes([data[112] | 0x40]) + data[113:])
    e131.hear(end)
    assert (e131.heard, e131.endpoint.drops["goodbye"]) == ([], 1)
    for _ in range(2):
        e131.hear(bytes(data))
        assert e131.states() == ["live"]
        e131.hear(end, end)
        e131.hear(end)
        assert e131.states() == ["ended"]
    assert [flow.ends for flow in e131.heard] == [2]
    e131.hear(bytes(data), end, bytes(data))
    assert (e131.states(), e131.heard[0].ends) == (["live"], 3)


@pytest.mark.parametrize(("name", "period_ms"), [("sacn-still", (1000, 1030)), ("dmxnet-still", (990, 1010))])
def test_a_still_scene_that_is_repeated_is_held_and_its_period_is_measured(
    name: str, period_ms: tuple[float, float], request: pytest.FixtureRequest
) -> None:
    listener: Ear = request.getfixturevalue("e131" if "sacn" in name else "artnet")
    play(listener, name, until_ns=4 * NS_PER_S + NS_PER_S // 4)
    (slot, *_) = [slot for slot, state in zip(listener.flows.flows, listener.states(), strict=True) if state == "held"]
    body = flow_body(listener.flows, slot, listener.now_ns)
    assert body["state"] == "held"
    assert period_ms[0] <= body["frames"]["repeats_after_ms"] <= period_ms[1]


def test_a_scene_that_was_sent_once_falls_silent_and_is_not_called_held(artnet: Ear) -> None:
    artnet.hear(FRAME, at_ns=0)
    artnet.sweep(NS_PER_S)
    assert artnet.states() == ["live"]
    artnet.sweep(3 * NS_PER_S)
    assert artnet.states() == ["silent"]


def test_each_universe_and_each_source_is_a_flow_of_its_own(artnet: Ear) -> None:
    play(artnet, "ledfx-artnet")
    universes = [flow.name for flow in artnet.heard]
    assert len(universes) == len(set(universes)) > 1
    (first, *_) = golden.read("ledfx-artnet")
    before = len(universes)
    artnet.hear(first.data, source=("127.0.0.1", 5001))
    artnet.hear(first.data[:13] + b"\x01" + first.data[14:])
    assert len(artnet.heard) == before + 2
    assert artnet.heard[-1].name.startswith("universe 0, physical 1 from")


def test_loss_is_told_of_a_believed_sender_alone_and_its_sums_close(e131: Ear) -> None:
    caught = golden.read("sacn-changes")
    rng = np.random.default_rng(4)
    lost = 0
    for place, one in enumerate(caught):
        if place > 60 and place < len(caught) - 20 and rng.random() < 0.1:
            lost += 1
            continue
        e131.hear(one.data, at_ns=one.at_ns)
        if place == 20:
            early = flow_body(e131.flows, 0, e131.now_ns)
            assert (early["numbering"], early["ledger"]["lost"], early["loss_ratio"]) == ("not yet known", None, None)
            assert early["ledger"]["received"] == 21
    e131.sweep(caught[-1].at_ns + 2 * NS_PER_S)
    body = flow_body(e131.flows, 0, e131.now_ns)
    ledger = body["ledger"]
    assert (body["numbering"], ledger["lost"]) == ("believed", lost)
    assert ledger["received"] == len(caught) - lost
    assert ledger["sent"] == ledger["received"] + ledger["lost"] + ledger["in_flight"]
    assert ledger["lost_by_cause"]["unknown_path"] == lost
    rows = e131.flows.datagrams_kept(0, 256)
    assert sum(row["fate"] == "lost" for row in rows) == lost
    assert sum(row["fate"] == "received" for row in rows) == 256 - lost


def test_a_sender_that_does_not_count_has_no_loss_and_is_told_so(artnet: Ear) -> None:
    play(artnet, "ledfx-artnet")
    for slot in artnet.flows.flows:
        body = flow_body(artnet.flows, slot, artnet.now_ns)
        assert (body["numbering"], body["ledger"]["lost"], body["loss_ratio"]) == ("does not count", None, None)
        assert body["notes"][0].startswith("Does not count")


def test_a_length_that_disagrees_is_said(artnet: Ear) -> None:
    play(artnet, "stupidartnet-lengths")
    said = flow_body(artnet.flows, 0, artnet.now_ns)["notes"]
    assert any("length field" in note for note in said)


def test_a_ddp_frame_in_two_datagrams_is_one_frame_and_pushes_are_seen(ddp: Ear) -> None:
    play(ddp, "ledfx-ddp")
    datagrams = [one for one in golden.read("ledfx-ddp") if one.port == 4048]
    body = flow_body(ddp.flows, 0, ddp.now_ns)
    assert body["frames"]["count"] == len(datagrams) // 2
    assert body["ledger"]["received"] == len(datagrams)
    assert not any("PUSH" in note for note in body["notes"])


def test_a_sender_that_never_pushes_is_said(ddp: Ear) -> None:
    datagrams = [one.data for one in golden.read("ledfx-ddp")]
    for data in datagrams:
        ddp.hear(bytes([data[0] & ~1]) + data[1:])
    _, note = flow_body(ddp.flows, 0, ddp.now_ns)["notes"]  # the first says that it numbers frames
    assert "PUSH" in note


def test_a_picture_is_what_all_parts_and_partial_updates_make_together(artnet: Ear) -> None:
    play(artnet, "npm-artnet")
    caught = [one.data for one in golden.read("npm-artnet") if one.port == 6454]
    assert [len(data) - 18 for data in caught] != sorted(len(data) - 18 for data in caught)
    picture = artnet.flows.pictures.look(0, artnet.endpoint.form, artnet.now_ns)
    assert len(picture.values) == 512
    artnet.hear(caught[0][:16] + b"\x00\x02\xc8\xc9")
    assert picture.values[:2].tolist() == [0xC8, 0xC9]
    assert len(picture.values) == 512


def test_media_of_any_payload_is_a_flow_by_its_ssrc(rtp: Ear) -> None:
    caught = [one.data for one in golden.read("ffmpeg-pcmu")]
    kept = [data for data in caught if len(data) > 200]
    rtp.hear(*kept[:20])
    (flow,) = rtp.heard
    assert flow.name.startswith("SSRC 0x")
    assert flow_body(rtp.flows, 0, rtp.now_ns)["last_colour"] is None


def test_ffmpeg_s_jitter_is_told_in_ticks_of_its_own_clock_and_in_milliseconds(rtp: Ear) -> None:
    caught = [one for one in golden.read("ffmpeg-pcmu") if one.port == FORMATS["rtp"].port]
    jitter = 0.0
    for before, one in pairwise(caught):  # RFC 3550 section 6.4.1
        ticks = int.from_bytes(one.data[4:8], "big") - int.from_bytes(before.data[4:8], "big")
        jitter += (abs((one.at_ns - before.at_ns) * 8000 / NS_PER_S - ticks) - jitter) / 16
    assert jitter > 0
    play(rtp, "ffmpeg-pcmu")
    body = flow_body(rtp.flows, 0, rtp.now_ns)
    assert body["media_hz"] == 8000
    assert body["jitter_ticks"] == pytest.approx(jitter)
    assert body["jitter_ms"] == pytest.approx(jitter / 8)
    assert snapshot(rtp.flows, [0], rtp.now_ns, 0).jitter_ms[0] == pytest.approx(jitter / 8)


def test_a_received_flow_has_figures_over_time_and_no_delay_is_invented(rtp: Ear) -> None:
    play(rtp, "ffmpeg-pcmu")
    rtp.sweep(20 * NS_PER_S)
    told = rtp.flows.timeline.flow(0, 0, NEVER_NS, None, START_NS)
    count = sum(one.port == FORMATS["rtp"].port for one in golden.read("ffmpeg-pcmu"))
    assert told.steps["received"].sum() == count
    assert not told.steps["lost"].any()
    assert np.isnan(told.steps["delay_ms"]).all()
    assert told.steps["jitter_ms"][-1] == pytest.approx(rtp.flows.media.ms(slice(1))[0], rel=1e-3)


def test_a_steady_sender_that_falls_silent_needs_attention_and_a_single_datagram_does_not(e131: Ear) -> None:
    play(e131, "sacn-changes")
    e131.hear(golden.read("sacn-changes")[0].data, source=("127.0.0.1", 6000))
    assert attention_of(e131.flows, 100) == []
    e131.sweep(e131.now_ns + 60 * NS_PER_S)
    assert e131.states() == ["silent", "silent"]
    (told,) = attention_of(e131.flows, 100)
    assert (told["slot"], told["id"], told["why"]) == (100, "f-0", "silent")


def test_a_believed_sender_s_loss_needs_attention_by_its_ratio(e131: Ear) -> None:
    caught = [one for one in golden.read("sacn-changes") if one.port == FORMATS["e131"].port]
    for number, one in enumerate(caught):
        if number < 64 or number % 4:  # a quarter is lost
            e131.hear(one.data, at_ns=number * 20 * NS_PER_MS)
        e131.sweep(number * 20 * NS_PER_MS)
    (told,) = attention_of(e131.flows, 0)
    assert told["why"] == "loss"
    assert told["value"] == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize(("name", "frames"), [("ledfx-ddp", True), ("python-led-ddp", False)])
def test_a_sender_that_numbers_frames_is_told_from_one_that_numbers_datagrams(
    ddp: Ear, name: str, frames: bool
) -> None:
    play(ddp, name)
    body = flow_body(ddp.flows, 0, ddp.now_ns)
    assert body["numbering"] == "believed"
    assert any("Numbers frames" in note for note in body["notes"]) == frames


@pytest.mark.parametrize(("name", "partial"), [("npm-artnet", True), ("dmxnet-numbers", False), ("ola-artnet", False)])
def test_frames_that_shrink_to_what_changed_are_said_to_be_partial(artnet: Ear, name: str, partial: bool) -> None:
    play(artnet, name)
    notes = flow_body(artnet.flows, 0, artnet.now_ns)["notes"]
    assert any("a shorter one changes only the slots" in note for note in notes) == partial


def test_a_payload_type_without_a_known_clock_has_no_jitter(rtp: Ear) -> None:
    data = bytes.fromhex("80600001 00000000 00000007")
    rtp.hear(data, at_ns=NS_PER_S)
    rtp.hear(data[:3] + b"\2" + data[4:], at_ns=2 * NS_PER_S)
    body = flow_body(rtp.flows, 0, rtp.now_ns)
    assert (body["media_hz"], body["jitter_ticks"], body["jitter_ms"]) == (None, None, None)


def test_a_receiver_that_is_told_the_clock_of_a_payload_type_has_jitter(rtp_at_90_khz: Ear) -> None:
    data = bytearray.fromhex("80600001 00000000 00000007")
    late_ns = 8 * NS_PER_MS
    for number, at_ns in enumerate((NS_PER_S, 2 * NS_PER_S + late_ns)):
        data[3], data[4:8] = number, (90_000 * number).to_bytes(4, "big")
        rtp_at_90_khz.hear(bytes(data), at_ns=at_ns)
    body = flow_body(rtp_at_90_khz.flows, 0, rtp_at_90_khz.now_ns)
    assert body["media_hz"] == 90_000
    assert body["jitter_ms"] == pytest.approx(8 / 16), "RFC 3550: a sixteenth of the change"
    kind = next(one for one in rtp_at_90_khz.endpoint.form.fields(bytes(data)) if "payload type" in one.name)
    assert "90000 ticks per second, as this receiver was told" in kind.about


def test_a_clock_that_was_told_changes_no_fixed_one(rtp_at_90_khz: Ear) -> None:
    play(rtp_at_90_khz, "ffmpeg-pcmu")
    assert flow_body(rtp_at_90_khz.flows, 0, rtp_at_90_khz.now_ns)["media_hz"] == 8000


def poll(listener: Ear, source: socket.socket, at_ns: int) -> bytes | None:
    """The answer to one ArtPoll from this socket."""
    listener.hear(b"Art-Net\0\x00\x20\x00\x0e\x02\x00", source=source.getsockname(), at_ns=at_ns)
    source.settimeout(0.0)
    try:
        return source.recv(1000)
    except BlockingIOError:
        return None


def test_a_poll_is_answered_once_a_second_with_the_port_the_right_way_round(artnet: Ear) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as console:
        console.bind(("127.0.0.1", 0))
        reply = poll(artnet, console, NS_PER_S)
        assert reply is not None
        assert len(reply) == 239
        assert int.from_bytes(reply[14:16], "little") == artnet.endpoint.address[1]
        assert reply[10:14] == bytes([127, 0, 0, 1])
        assert reply[26:34] == b"udprism\0"
        assert poll(artnet, console, NS_PER_S + 1) is None
        again = poll(artnet, console, 2 * NS_PER_S)
        assert again is not None
        assert (again[26:108], artnet.endpoint.controls) == (reply[26:108], 3)
    answering = artnet.endpoint.answering
    assert answering is not None
    assert (answering.answered, answering.withheld) == (2, 1)
    assert artnet.heard == []


def test_polls_from_elsewhere_and_too_many_get_nothing(artnet: Ear) -> None:
    answering = artnet.endpoint.answering
    assert answering is not None
    data = b"Art-Net\0\x00\x20\x00\x0e\x02\x00"
    artnet.hear(data, source=("203.0.113.7", 6454))
    assert (answering.answered, answering.withheld) == (0, 1)
    for port in range(20_000, 20_040):
        artnet.hear(data, source=("127.0.0.1", port))
    assert (answering.answered, answering.withheld) == (16, 25)


def test_senders_from_foreign_networks_are_counted_and_no_flow(artnet: Ear) -> None:
    artnet.hear(FRAME, source=("203.0.113.7", 6454))
    assert (artnet.heard, artnet.endpoint.drops["network"]) == ([], 1)


def test_a_stray_goodbye_hides_neither_itself_nor_what_follows_it(e131: Ear) -> None:
    data = next(one.data for one in golden.read("ola-sacn") if not one.data[112] & 0x40)
    end = data[:112] + bytes([data[112] | 0x40]) + data[113:]
    e131.hear(end, end, data)
    assert (len(e131.heard), e131.endpoint.drops["goodbye"], e131.flows.datagrams) == (1, 2, 1)


def test_anything_on_the_port_is_counted_under_a_reason_and_changes_nothing_else(artnet: Ear) -> None:
    artnet.hear(FRAME)
    before = flow_body(artnet.flows, 0, artnet.now_ns)
    artnet.hear(b"", b"x", b"Art-Net\0", bytes(1000))
    assert sum(artnet.endpoint.drops.values()) == 4
    assert flow_body(artnet.flows, 0, artnet.now_ns) == before
