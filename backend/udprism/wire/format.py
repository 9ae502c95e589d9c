"""What a format is: how bytes become columns, how they are explained, and how they are made.

A format returns what is on the wire and nothing more. Whether a sender's numbers can be believed, what was lost, and
when a flow ends is decided elsewhere, from more than one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple, Protocol

import numpy as np

from udprism.columns.types import BoolColumn, I32Column, I64Column, Rows, U8Column, U16Column, U32Column, U64Column

MAX_CHANNELS: Final = 1 << 20
"""Channels of one picture that are kept (350,000 pixels of three): DDP can address 2**32."""


class Numbering(NamedTuple):
    """How a format counts: `first`, `first` + 1 … `first` + `modulus` - 1, and `first` again.

    modulus: 2**32 measured, 2**16 RTP, 256 E1.31, 255 Art-Net, 15 DDP; 0 if the format has no numbers.
    first: 1 if the wire's 0 means "not numbered" (Art-Net, DDP), otherwise 0.
    """

    modulus: int
    first: int

    def at(self, count: int) -> int:
        """The number of a flow's datagram `count`, from 0. Only for a format that counts."""
        return self.first + count % self.modulus


class Reason(IntEnum):
    """Why a datagram belongs to no flow of the format on whose port it came. The codes that foreign formats share."""

    NONE = 0
    SHORT = 1
    """Ends within the header."""
    FOREIGN = 2
    """Does not begin as this format does."""
    VERSION = 3
    KIND = 4
    """A kind of datagram that the format has, or could have, and that is not read here."""
    LENGTH = 5
    """A length field or an address that no datagram can have."""
    EMPTY = 6

    @property
    def label(self) -> str:
        """`none`, `short`, `foreign`, `version`, `kind`, `length`, `empty`."""
        return self.name.lower()


REASONS: Final = tuple(reason.label for reason in Reason)


class Mark(IntFlag):
    """Facts of one datagram, as bits: or-ed together over a flow they are what its sender does."""

    COMMITS = 1
    """DDP's PUSH: the frame is complete. Many senders never set it, so a frame is shown without."""
    ENDS = 2
    """The sender says that the flow ends. Such a datagram never begins a flow; senders repeat it."""
    PREVIEW = 4
    """Not for live use (E1.31): shown, never forwarded."""
    LENGTH_DISAGREES = 8
    """A length field says another number than there are bytes: the smaller one counts."""
    NO_LEVELS = 16
    """Numbered with its flow, but no levels (E1.31 with another start code than 0, such as per-address priority)."""
    WHITE = 32
    """Four channels a pixel, red, green, blue and white."""
    TIMED = 64
    """Bears a media time."""
    SYNCHRONISED = 128
    """To be shown when a synchronisation datagram comes (E1.31)."""


@dataclass(slots=True, kw_only=True)
class Decoded:
    """n datagrams. Each is one of three: `valid` (a row of its flow), `control` (well formed, for the endpoint alone: a
    poll, a synchronisation, a query), or neither, with a `reason`. Where `valid` is False, the columns from `key` on
    are undefined.

    valid, control: bool[n]. reason: uint8[n], an index of `Format.reasons`; 0 where valid or control.
    key: uint64[n]: which flow of this sender's address (session id, SSRC, CID and universe, destination id; 0).
    number: uint32[n], as on the wire. numbered: bool[n]: False if the datagram bears no number (DDP's and Art-Net's
    0): it neither proves nor disproves that the sender counts.
    part: uint32[n], or None where each datagram is a frame: where in its frame the datagram's data begins (DDP: bytes,
    DNRGB: pixels); the frame begins with part 0. DDP's senders disagree whether a number is a datagram's or a
    frame's. So: the number of the flow's previous datagram again, *with a higher part*, continues that number: the
    datagram is received, it is no duplicate, and the numbers have not advanced. With the same or a lower part it is a
    duplicate.
    marks: uint16[n], bits of `Mark`.
    rgb: uint8[n, 3], the frame's first pixel, for the eye; coloured: bool[n]: False if the datagram has none (it
    is not the frame's first part, has fewer than three channels, or is not colour): the flow's last colour stands.
    rgb may be a view of the rows and lives no longer than these.
    sent_unix_ns: int64[n], a sender's wall clock, or None if the format carries none.
    media_ticks: uint32[n], modulo 2**32, or None; for jitter only. media_hz: int32[n], ticks per second, 0 where
    unknown (a row without TIMED, a dynamic RTP payload type); None with media_ticks.
    all_valid: whether `valid` is True throughout.
    """

    valid: BoolColumn
    control: BoolColumn
    reason: U8Column
    key: U64Column
    number: U32Column
    numbered: BoolColumn
    part: U32Column | None = None
    marks: U16Column
    rgb: U8Column
    coloured: BoolColumn
    sent_unix_ns: I64Column | None = None
    media_ticks: U32Column | None = None
    media_hz: I32Column | None = None
    all_valid: bool

    def only(self, which: I64Column | BoolColumn) -> Decoded:
        """A copy of these rows."""
        valid = self.valid[which]
        return Decoded(
            valid=valid,
            control=self.control[which],
            reason=self.reason[which],
            key=self.key[which],
            number=self.number[which],
            numbered=self.numbered[which],
            part=None if self.part is None else self.part[which],
            marks=self.marks[which],
            rgb=self.rgb[which],
            coloured=self.coloured[which],
            sent_unix_ns=None if self.sent_unix_ns is None else self.sent_unix_ns[which],
            media_ticks=None if self.media_ticks is None else self.media_ticks[which],
            media_hz=None if self.media_hz is None else self.media_hz[which],
            all_valid=bool(valid.all()),
        )


class Field(NamedTuple):
    """One field of a datagram, for the inspector. Fields may overlap (bits of one byte) and need not cover it all."""

    name: str
    offset: int
    length: int
    """Both in bytes, within the datagram."""
    value: str
    about: str
    """What the value means, or what is odd about it; may be empty."""


class Pixels(NamedTuple):
    """What one datagram changes in its flow's picture, channel by channel: senders update parts of pixels.

    place: int64[k], each value's channel in the picture, from 0 (DMX slot = place + 1). value: uint8[k].
    channels: a pixel's, 3 (red, green, blue), 4 (and white) or 1 (grey).
    """

    place: I64Column
    value: U8Column
    channels: int

    def over(self, before: U8Column) -> U8Column:
        """The picture's channels, uint8[m], after this datagram: a copy of `before`, longer if need be.

        Channels from MAX_CHANNELS on are left out.
        """
        inside = self.place < MAX_CHANNELS
        place = self.place[inside]
        after = np.zeros(max(len(before), int(place.max(initial=-1)) + 1), np.uint8)
        after[: len(before)] = before
        after[place] = self.value[inside]
        return after


NO_PIXELS: Final = Pixels(np.zeros(0, np.int64), np.zeros(0, np.uint8), 3)


class Format(Protocol):
    """One format: no state, any thread."""

    @property
    def name(self) -> str:
        """As in the API: `ddp`, `artnet`."""

    @property
    def label(self) -> str:
        """For people who choose one: `DDP`, `Art-Net`; what comes after a colon explains."""

    @property
    def port(self) -> int:
        """The port to which its senders send by default; 0 for a format without a usual port."""

    @property
    def numbering(self) -> Numbering:
        """How its senders should count."""

    @property
    def reasons(self) -> Sequence[str]:
        """The label of each value of `Decoded.reason`."""

    @property
    def row_bytes(self) -> int:
        """The least width of the rows that `decode` reads."""

    @property
    def payload_at(self) -> int:
        """A link's corruption flips bits from this byte on."""

    def decode(self, rows: Rows, length: I32Column) -> Decoded:
        """n datagrams: uint8[n, >= row_bytes] with their true lengths, int32[n], which may exceed the rows' width.

        Bytes beyond a datagram's length are undefined and ignored. Never raises.
        """

    def flow_name(self, data: bytes) -> str:
        """What tells this datagram's flow from others of its sender: `universe 7`, `SSRC 0x1234abcd`; may be empty.

        Only for a datagram that decodes as valid.
        """

    def fields(self, data: bytes) -> list[Field]:
        """A datagram's fields, as far as it goes. Never raises."""

    def pixels(self, data: bytes) -> Pixels:
        """What the datagram changes in the picture; NO_PIXELS if it is not valid or has none. Never raises."""

    def encoder(self, sending: Sending) -> Encoder | None:
        """Makes a sender's datagrams; None for a format that is only received.

        Raises: ValueError: the format cannot send so many pixels from there on.
        """


class Sending(NamedTuple):
    """What a sender is configured with. identity: 16 random bytes from the shell: E1.31's CID, RTP's SSRC."""

    pixels: int
    identity: bytes
    universe: int = 1
    name: str = "udprism"


class Part(NamedTuple):
    """One datagram of a frame. key: the flow that it belongs to, as `Decoded.key` says; each key counts for itself."""

    key: int
    first_pixel: int
    pixels: int


class Encoder(Protocol):
    """One sender's datagrams. No state: the caller counts, by `Numbering.at`, one count a key."""

    @property
    def parts(self) -> Sequence[Part]:
        """The datagrams of one frame, in the order of their sending."""

    @property
    def width(self) -> int:
        """Bytes of the longest datagram."""

    @property
    def refresh_s(self) -> float:
        """A still picture is sent again after this long."""

    def encode(
        self, out: Rows, part: I32Column, number: U32Column, sent_unix_ns: I64Column, rgb: U8Column
    ) -> I32Column:
        """Writes n datagrams into `out`, uint8[n, >= width], and returns their lengths, int32[n].

        part: int32[n], indices of `parts`. number: uint32[n], on the wire as it is. rgb: uint8[n, pixels, 3], the whole
        frame of each row's moment (n rows of one frame may be a broadcast view).
        """

    def goodbye(self, out: Rows, part: I32Column, number: U32Column) -> I32Column:
        """As `encode`: what tells a receiver that the flow ends, to be sent `goodbyes` times; lengths."""

    @property
    def goodbyes(self) -> int:
        """How often the goodbye is sent, each under the next number; 0 if the format has none."""
