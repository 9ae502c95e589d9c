"""What a link is, in the words of the kernel's `tc netem`: one validated value. `LinkModel` applies it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, get_args

from udprism.errors import RequestError
from udprism.link import fields as read
from udprism.link.field import Field, Slider, fields_of, flag, ratio

Distribution: TypeAlias = Literal["uniform", "normal", "pareto"]
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)

MAX_DELAY_MS = 60_000.0
MIN_RATE_KBIT_S = 1.0
MAX_RATE_KBIT_S = 10_000_000.0
MAX_QUEUE_DATAGRAMS = 65_536
MIN_MTU_BYTES = 68
"""RFC 791: every link carries IP packets of this size."""
MAX_MTU_BYTES = 65_535
MAX_SEED = (1 << 53) - 1
"""Largest whole number that a browser reads back unchanged."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Gilbert and Elliott's model: a good and a bad state; a step is drawn for each datagram.

    enter_ratio, leave_ratio: probability of good to bad and of bad to good; bursts last 1 / leave_ratio datagrams on
    average. loss_ratio: loss in the bad state; in the good state it is the link's own loss_ratio (netem's p, r, 1-h and
    1-k). Off if enter_ratio is 0.
    """

    enter_ratio: Annotated[float, ratio("Bursts begin", Slider(100, step=0.1), rare=True)] = 0.0
    leave_ratio: Annotated[
        float, ratio("Bursts end", Slider(100, power=1), rare=True, note="above 0 if enter_ratio is")
    ] = 0.0
    loss_ratio: Annotated[float, ratio("Loss in a burst", Slider(100, power=1), rare=True)] = 1.0

    def __str__(self) -> str:
        return f"(enter {self.enter_ratio}, leave {self.leave_ratio}, loss {self.loss_ratio})"


def _read_burst(value: object, field: str) -> Burst:
    if value is None:
        return Burst()
    given = read.table(value, field, _BURST)
    return Burst(**{name: _BURST[name].read(part, f"{field}.{name}") for name, part in given.items()})


_BURST: Final = fields_of(Burst)
_PERCENT: Final = Slider(100, power=2, step=0.1)
_RATE: Final = Field(
    "number",
    "Rate limit",
    MIN_RATE_KBIT_S,
    MAX_RATE_KBIT_S,
    "kbit/s",
    or_none=True,
    word="rate",
    slider=Slider(10_000, power=3),
    rare=True,
)
_MTU: Final = Field(
    "whole",
    "Largest packet",
    MIN_MTU_BYTES,
    MAX_MTU_BYTES,
    "bytes",
    or_none=True,
    word="mtu",
    slider=Slider(9000, power=3),
    rare=True,
    note="larger ones vanish without a word",
)
_QUEUE: Final = Field("whole", "Queue", 1, MAX_QUEUE_DATAGRAMS, word="queue", slider=Slider(10_000, power=3), rare=True)


def _time(label: str, word: str, most_ms: float) -> Field:
    return Field("number", label, 0, MAX_DELAY_MS, "ms", word=word, slider=Slider(most_ms))


@dataclass(frozen=True, slots=True)
class Link:
    """One link: the table of its fields, from which bodies are read, the API described, and the page's controls made.
    The default of every field is off.

    jitter_ms: half the width of a uniform distribution, the standard deviation of a normal one, the scale of netem's
    Pareto table (link.jitter). reorder_ratio: this part of the datagrams leaves at once, ahead of the delayed ones.
    corrupt_ratio: in this part, one bit of the colours flips; with corrupt_header, one bit anywhere. rate_kbit_s: of IP
    packets, None for no limit; queue_datagrams: how many may wait for it, the next one is dropped. mtu_bytes: IP
    packets larger than this vanish, and nobody is told (a path MTU black hole), None for none. seed: the same seed
    gives the same fate to the same client and sequence number.
    """

    loss_ratio: Annotated[float, ratio("Loss", Slider(100, step=0.1), word="loss")] = 0.0
    burst: Annotated[Burst, Field("group", "Bursts", rare=True, read_group=_read_burst)] = Burst()
    delay_ms: Annotated[float, _time("Delay", "delay", 2000)] = 0.0
    jitter_ms: Annotated[float, _time("Jitter", "jitter", 500)] = 0.0
    distribution: Annotated[Distribution, Field("choice", "Shape of jitter", choices=DISTRIBUTIONS, rare=True)] = (
        "uniform"
    )
    keep_order: Annotated[bool, flag("Keep order", word="order", rare=True, note="not together with reorder_ratio")] = (
        False
    )
    reorder_ratio: Annotated[float, ratio("Reorder", _PERCENT, word="reorder", note="needs a delay_ms above 0")] = 0.0
    duplicate_ratio: Annotated[float, ratio("Duplicate", _PERCENT, word="duplicate")] = 0.0
    corrupt_ratio: Annotated[float, ratio("Corrupt", _PERCENT, word="corrupt")] = 0.0
    corrupt_header: Annotated[bool, flag("Corrupt the header too", rare=True)] = False
    rate_kbit_s: Annotated[float | None, _RATE] = None
    queue_datagrams: Annotated[int, _QUEUE] = 1000
    mtu_bytes: Annotated[int | None, _MTU] = None
    blackout: Annotated[bool, flag("Blackout: nothing is sent", word="blackout")] = False
    seed: Annotated[int, Field("whole", "Seed", 0, MAX_SEED, word="seed", rare=True)] = 0

    @classmethod
    def from_body(cls, body: object) -> Link:
        """A link from the REST body; fields that are not named are off.

        Raises: RequestError, with the field at fault and what would be right.
        """
        given = read.table(body, None, LINK_FIELDS)
        link = cls(**{name: LINK_FIELDS[name].read(value, name) for name, value in given.items()})
        link._refuse_contradictions()
        return link

    def to_body(self) -> dict[str, Any]:
        """The REST body, every field there; `from_body` gives the same link again."""
        return asdict(self)

    @property
    def is_off(self) -> bool:
        """Whether every datagram passes at once and whole."""
        return not (
            self.loss_ratio
            or self.burst.enter_ratio
            or self.delay_ms
            or self.jitter_ms
            or self.duplicate_ratio
            or self.corrupt_ratio
            or self.rate_kbit_s
            or self.mtu_bytes
            or self.blackout
        )

    def __str__(self) -> str:
        """What differs from a link that is off, in a few words: `loss_ratio 0.02, delay_ms 40.0`."""
        off = Link()
        changed = [name for name in LINK_FIELDS if getattr(self, name) != getattr(off, name)]
        return ", ".join(f"{name} {getattr(self, name)}" for name in changed) or "off"

    def _refuse_contradictions(self) -> None:
        if self.burst.enter_ratio > 0 and self.burst.leave_ratio == 0:
            raise RequestError(
                "a burst that is entered needs a leave_ratio above 0 (1 / mean length in datagrams); "
                "for one without an end ask for blackout",
                field="burst.leave_ratio",
            )
        if self.keep_order and self.reorder_ratio > 0:
            raise RequestError("keep_order and reorder_ratio contradict each other: set only one", field="keep_order")
        if self.reorder_ratio > 0 and self.delay_ms == 0:
            raise RequestError(
                "reorder_ratio needs a delay_ms above 0: reordered datagrams overtake those that wait",
                field="reorder_ratio",
            )


def client_key(name_or_address: str) -> int:
    """64-bit key of a client: of its name if it has one, otherwise of its "ip:port"."""
    return int.from_bytes(hashlib.blake2s(name_or_address.encode(), digest_size=8).digest(), "big")


LINK_FIELDS: Final = fields_of(Link)


class Described(NamedTuple):
    """A field with its path, `burst.enter_ratio` for a part of a burst, and its default."""

    path: str
    default: Any
    field: Field


def table() -> list[Described]:
    """Every field that holds a value, in order: of a group its parts."""
    rows: list[Described] = []
    for name, one in LINK_FIELDS.items():
        if name == "burst":
            rows += [Described(f"burst.{part}", getattr(Burst(), part), its) for part, its in _BURST.items()]
        else:
            rows.append(Described(name, getattr(Link(), name), one))
    return rows
