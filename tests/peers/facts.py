"""What each real sender does, asserted of any capture of it: of the golden vectors and of one made just now.

Times have a lower bound that holds on any machine and an upper one that a busy machine may come near. Each function's
first line is its row in FORMATS.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from peers.golden import Caught
from peers.scenarios import SCENARIOS, SWAPPED
from udprism.columns.types import F64Column, I64Column, Rows
from udprism.wire.artnet import Artnet, Op, operation_of
from udprism.wire.e131 import PRIORITY_START_CODE
from udprism.wire.format import Decoded, Mark
from udprism.wire.formats import FORMATS

BUSY_S: Final = 1.5
"""By how much a busy machine may delay a sender, and its later ones with it."""
EARLY: Final = 0.97
"""A sender's timer may be read some time before the datagram leaves, so the next gap may be shorter by as much."""


def _repeats(periods_s: F64Column, period_s: float, longest_s: float | None = None) -> None:
    """The same comes again after `period_s`, or up to `longest_s`, on average."""
    assert len(periods_s) >= 2
    assert EARLY * period_s <= periods_s.mean() <= (longest_s or period_s) + BUSY_S


class Seen:
    """A capture, decoded in one batch."""

    def __init__(self, form: str, caught: list[Caught]) -> None:
        self.format = FORMATS[form]
        self.caught = caught
        self.length = np.array([len(one.data) for one in caught], np.int32)
        self.rows: Rows = np.zeros((len(caught), max(self.format.row_bytes, int(self.length.max()))), np.uint8)
        for row, one in zip(self.rows, caught, strict=True):
            row[: len(one.data)] = np.frombuffer(one.data, np.uint8)
        self.decoded: Decoded = self.format.decode(self.rows, self.length)
        assert not self.decoded.reason.any(), "every datagram of a real sender is understood"

    def flows(self) -> list[Flow]:
        """In the order of their beginning."""
        valid = self.decoded.valid
        return [
            Flow(self, np.flatnonzero(valid & (self.decoded.key == key)))
            for key in dict.fromkeys(self.decoded.key[valid].tolist())
        ]

    def flow(self) -> Flow:
        """The only one."""
        (one,) = self.flows()
        return one

    def controls(self) -> list[bytes]:
        return [one.data for one, control in zip(self.caught, self.decoded.control, strict=True) if control]


class Flow:
    """The rows of one key, in the order of their arrival."""

    def __init__(self, seen: Seen, place: I64Column) -> None:
        decoded = seen.decoded
        self.place = place
        self.number = decoded.number[place].astype(np.int64)
        self.numbered = decoded.numbered[place]
        self.marks = decoded.marks[place]
        self.coloured = decoded.coloured[place]
        self.rgb = decoded.rgb[place].tolist()
        self.part = np.zeros(len(place), np.int64) if decoded.part is None else decoded.part[place].astype(np.int64)
        self.length = seen.length[place].tolist()
        self.data = [seen.caught[at].data for at in place]
        self.at_s = np.array([seen.caught[at].at_ns for at in place]) / 1e9
        self.port = {seen.caught[at].port for at in place}
        self.modulus, self.first = seen.format.numbering

    def __len__(self) -> int:
        return len(self.place)

    def steps(self) -> set[int]:
        """Modulo the format's cycle, over the rows that bear a number."""
        steps: list[int] = (np.diff(self.number[self.numbered]) % self.modulus).tolist()
        return set(steps)

    def all_marks(self) -> set[Mark]:
        together = int(np.bitwise_or.reduce(self.marks))
        return {mark for mark in Mark if together & mark}

    def periods_s(self) -> F64Column:
        return np.diff(self.at_s)


Check = Callable[[Seen], None]
FACTS: Final[dict[str, Check]] = {}


def of(*scenarios: str) -> Callable[[Check], Check]:
    """Names the scenarios that a fact is true of."""

    def keep(check: Check) -> Check:
        for scenario in scenarios:
            assert scenario in {known.name for known in SCENARIOS}
            assert scenario not in FACTS
            FACTS[scenario] = check
        return check

    return keep


def _wraps(flow: Flow, highest: int, then: int) -> None:
    """The number after `highest` is `then`, and everything else steps by one."""
    after = flow.number[1:][flow.number[:-1] == highest]
    assert set(after.tolist()) == {then}
    assert flow.steps() == {1}
    assert len(flow) > flow.modulus


# E1.31


@of("sacn-changes")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.number[0] == 0
    _wraps(flow, 255, 0)
    assert set(flow.length) == {638}  # 512 slots, though three were set
    assert flow.all_marks() == {Mark.SYNCHRONISED}  # flush() names universe 63,999
    assert flow.rgb[7] == [255, 0, 7]


@of("sacn-still")
def _(seen: Seen) -> None:
    flow = seen.flow()
    ends = (flow.marks & Mark.ENDS) != 0
    assert ends.tolist() == [False] * (len(flow) - 3) + [True] * 3
    assert flow.steps() == {1}
    _repeats(flow.periods_s()[:-3], 1.0)
    assert flow.at_s[-1] - flow.at_s[-3] < BUSY_S
    assert set(map(tuple, flow.rgb)) == {(1, 2, 3)}  # the goodbye has its levels


@of("sacn-stopped")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert not (flow.marks & Mark.ENDS).any()  # stop() alone says nothing


@of("sacn-priorities")
def _(seen: Seen) -> None:
    flow = seen.flow()
    start_codes = [data[125] for data in flow.data]
    assert start_codes == [PRIORITY_START_CODE, 0] * 20
    assert flow.steps() == {1}
    levels = (flow.marks & Mark.NO_LEVELS) == 0
    assert set(np.diff(flow.number[levels]).tolist()) == {2}
    assert (flow.coloured == levels).all()


@of("sacn-preview")
def _(seen: Seen) -> None:
    first, second = seen.flows()
    assert Mark.PREVIEW in first.all_marks()
    assert Mark.PREVIEW not in second.all_marks()
    assert first.data[-1][22:38] == second.data[-1][22:38]  # one CID, two counts
    assert set(second.number.tolist()) == {0}
    syncs = seen.controls()
    # E1.31-2018 table 4-2: the framing vector at 40, the synchronisation address at 45.
    assert {int.from_bytes(data[40:44], "big") for data in syncs} == {1}
    addresses = [int.from_bytes(data[45:47], "big") for data in syncs]
    assert addresses == [63_999] * 2  # to its group, though the data is unicast
    assert [data[44] for data in syncs] == [0, 1]


@of("pyartnet-sacn")
def _(seen: Seen) -> None:
    for flow in seen.flows():
        assert flow.number[0] == 0
        _wraps(flow, 255, 0)
        assert set(flow.length) == {130}  # as many slots as there are channels, made even
        assert flow.all_marks() == set()


@of("ledfx-e131")
def _(seen: Seen) -> None:
    flows = seen.flows()
    assert len(flows) == 2
    for flow in flows:
        assert not (flow.marks & Mark.ENDS).any()  # a black frame, and no goodbye
        assert flow.data[-1][126:] == bytes(512)
        assert flow.steps() <= {0, 1, 2}  # its thread and its caller share one count
        assert set(flow.length) == {638}
        assert Mark.SYNCHRONISED in flow.all_marks()


@of("npm-sacn-changes")
def _(seen: Seen) -> None:
    flows = seen.flows()
    assert len(flows) == 2
    for flow in flows:
        assert flow.number[0] == 0
        _wraps(flow, 255, 0)
        assert set(flow.length) == {638}
        assert {data[22:38] for data in flow.data} == {b"kyleHenselDefaul"}  # the CID of every sender


@of("npm-sacn-still")
def _(seen: Seen) -> None:
    flow = seen.flow()
    _repeats(flow.periods_s(), 0.5)  # minRefreshRate: 2
    assert not (flow.marks & Mark.ENDS).any()


@of("npm-e131")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.number[0] == 0
    _wraps(flow, 255, 0)
    assert set(flow.length) == {126 + 24}
    assert {data[22:38] for data in flow.data} == {bytes(16)}  # no CID unless one is set
    assert not (flow.marks & Mark.ENDS).any()


@of("ola-sacn")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.number.tolist() == [0, 1, 2, 3, 4, 5]
    assert [length - 126 for length in flow.length] == [3, 3, 3, 0, 0, 0]  # the goodbye has no slots
    assert ((flow.marks & Mark.ENDS) != 0).tolist() == [False] * 3 + [True] * 3
    assert flow.at_s[3] - flow.at_s[2] >= 6  # a still scene is sent once
    assert flow.coloured.tolist() == [True] * 3 + [False] * 3


# Art-Net


@of("stupidartnet-numbers")
def _(seen: Seen) -> None:
    before, after = seen.flows()
    assert set(before.number.tolist()) == {0}
    assert not before.numbered.any()
    assert set(after.number.tolist()) == {20}  # as many as had been sent when the universe was set


@of("stupidartnet-lengths")
def _(seen: Seen) -> None:
    flow = seen.flow()
    said = [int.from_bytes(data[16:18], "big") for data in flow.data]
    assert list(zip(said, [length - 18 for length in flow.length], strict=True)) == [(12, 6), (6, 512)]
    assert flow.all_marks() == {Mark.LENGTH_DISAGREES}
    assert [len(seen.format.pixels(data).place) for data in flow.data] == [6, 6]  # the smaller one


@of("pyartnet-artnet")
def _(seen: Seen) -> None:
    flows = seen.flows()
    assert len(flows) == 2
    for flow in flows:
        assert flow.steps() == {2}  # one count over both universes
        assert set(flow.length) == {18 + 4}
    together = seen.decoded.number.astype(int)
    assert together[0] == 1
    assert set((np.diff(together) % 255).tolist()) == {1}
    assert (together.min(), together.max()) == (1, 255)


@of("pyartnet-still")
def _(seen: Seen) -> None:
    flow = seen.flow()
    _repeats(flow.periods_s(), 2.0, 4.0)  # refresh_every=2
    assert flow.steps() == {1}


@of("npartnet-changes")
def _(seen: Seen) -> None:
    for flow in seen.flows():
        assert flow.number[0] == 0  # once; then 1 to 255
        assert np.count_nonzero(flow.number == 0) == 1
        _wraps(flow, 255, 1)
    assert {operation_of(data) for data in seen.controls()} == {Op.SYNC}
    assert len(seen.controls()) == len(seen.flows()[0])  # after each frame


@of("aioartnet-numbers")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.number[0] > 1  # it counts while nobody subscribes
    assert flow.number.min() == 1
    _wraps(flow, 255, 1)
    assert set(flow.length) == {530}
    _repeats(flow.periods_s()[-2:], 1.0, 1.1)
    assert {operation_of(data) for data in seen.controls()} == {Op.POLL, Op.POLL_REPLY}


@of("aioartnet-swapped")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.port == {SWAPPED}  # it sends where the reply says
    assert len(flow) > 5


@of("aioartnet-renamed")
def _(seen: Seen) -> None:
    flow = seen.flow()
    polls = [place for place, one in enumerate(seen.caught) if operation_of(one.data) == Op.POLL]
    assert len(polls) == 3  # and so many names
    copies = flow.number[flow.place > polls[-1]].tolist()
    assert copies == sorted(copies)
    assert {copies.count(number) for number in copies} == {3}  # one more of each frame with each new name


@of("ledfx-artnet")
def _(seen: Seen) -> None:
    first, last = seen.flows()
    assert (first.number[0], last.number[0]) == (0, 1)
    together = seen.decoded.number[:-1].astype(int)
    assert set((np.diff(together) % 256).tolist()) == {1}  # one count over both universes, from 0 to 255 and to 0
    assert first.steps() >= {2}
    assert len(last) == len(first) + 1
    assert last.number[-1] == last.number[-2]  # the goodbye: black, under a number already used, for the last universe
    assert last.data[-1][18:] == bytes(510)
    assert first.data[-1][18:] != bytes(510)
    assert set(first.length) == {18 + 510}


@of("npm-artnet")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert not flow.numbered.any()
    assert [length - 18 for length in flow.length] == [100, 2, 40, 512]  # up to the highest slot that changed
    assert 3.7 <= flow.at_s[3] - flow.at_s[0] <= 4 + BUSY_S
    picture = np.zeros(0, np.uint8)
    for data in flow.data[:3]:
        picture = seen.format.pixels(data).over(picture)
    assert picture.tolist() == [255, *[9] * 38, 255, *[9] * 60]


@of("dmxnet-numbers")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.number[0] == 1
    _wraps(flow, 255, 1)
    assert set(flow.length) == {530}


@of("dmxnet-still")
def _(seen: Seen) -> None:
    flow = seen.flow()
    _repeats(flow.periods_s(), 1.0)
    (reply,) = seen.controls()
    assert len(reply) == 213
    fields = {field.name: field.value for field in Artnet().fields(reply)}
    assert fields["port"] == str(SWAPPED)  # 6454 with its bytes exchanged


@of("ola-artnet")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.number.tolist() == [0, 1, 2]
    assert set(flow.length) == {18 + 4}  # three slots, made even
    assert seen.caught[-1].at_ns / 1e9 - flow.at_s[-1] >= 6  # a still scene is sent once, and there is no goodbye
    assert {operation_of(data) for data in seen.controls()} >= {Op.POLL, Op.POLL_REPLY}


@of("ola-artnet-numbers")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert set((np.diff(flow.number) % 256).tolist()) == {1}
    assert (flow.number.min(), flow.number.max()) == (0, 255)  # its 0 is a number, and means that it has none


# DDP


@of("python-led-ddp")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.number[0] == 1
    _wraps(flow, 15, 1)  # each datagram has its own
    assert flow.part.tolist() == [0, 1440] * 40
    assert ((flow.marks & Mark.COMMITS) != 0).tolist() == [False, True] * 40
    assert {data[2] for data in flow.data} == {0x0D}
    assert flow.rgb[2] == [255, 0, 1]


@of("ledfx-ddp")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.number[:5].tolist() == [2, 2, 3, 3, 4]  # one number a frame, from 2
    frames = flow.number[::2]
    assert (flow.number[1::2] == frames).all()
    assert set((np.diff(frames) % 15).tolist()) == {1}
    assert set(frames.tolist()) == set(range(1, 16))
    assert flow.part.tolist() == [0, 1440] * 40
    assert ((flow.marks & Mark.COMMITS) != 0).tolist() == [False, True] * 40
    assert {data[2] for data in flow.data} == {0x0B}
    assert flow.coloured.tolist() == [True, False] * 40


# WLED


@of("ledfx-drgb", "ledfx-drgbw")
def _(seen: Seen) -> None:
    flow = seen.flow()
    channels = 4 if Mark.WHITE in flow.all_marks() else 3
    assert set(flow.length) == {2 + 200 * channels}
    assert {data[1] for data in flow.data} == {1}  # a second's patience
    assert [rgb[2] for rgb in flow.rgb] == list(range(10))
    assert not (flow.marks & Mark.ENDS).any()


@of("ledfx-warls")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.length == [2 + 200 * 4, *[2 + 4] * 9]  # what changed, and nothing else
    assert [rgb[2] for rgb in flow.rgb] == list(range(10))


@of("ledfx-warls-still")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.length[0] == 802
    assert set(flow.data[1:]) == {bytes((1, 1))}  # nothing changed: two bytes of header
    assert flow.coloured.tolist() == [True] + [False] * (len(flow) - 1)
    _repeats(flow.periods_s(), 0.48)


@of("ledfx-dnrgb-still")
def _(seen: Seen) -> None:
    flow = seen.flow()
    assert flow.part[:2].tolist() == [0, 489]
    assert set(flow.part[2:].tolist()) == {0}  # pixels 489 to 599 are never refreshed
    _repeats(np.diff(flow.at_s[flow.part == 0]), 0.48)


# RTP


class Media(NamedTuple):
    """An RTP sender."""

    hz: int
    marker: bool


def _media(seen: Seen, media: Media) -> None:
    flow = seen.flow()
    decoded = seen.decoded
    assert decoded.media_ticks is not None
    assert decoded.media_hz is not None
    assert flow.steps() == {1}
    assert set(decoded.media_hz.tolist()) == {media.hz}
    assert (Mark.COMMITS in flow.all_marks()) == media.marker
    ticks = np.diff(decoded.media_ticks)  # modulo 2**32, as the column is
    played_s, passed_s = ticks.sum() / media.hz, flow.at_s[-1]
    assert abs(played_s - passed_s) < 0.4 + BUSY_S
    assert not flow.coloured.any()


@of("ffmpeg-pcmu")
def _(seen: Seen) -> None:
    _media(seen, Media(8_000, marker=False))
    assert set(seen.length[:-1].tolist()) == {12 + 1024}


@of("ffmpeg-mjpeg")
def _(seen: Seen) -> None:
    _media(seen, Media(90_000, marker=True))


assert set(FACTS) == {scenario.name for scenario in SCENARIOS}
