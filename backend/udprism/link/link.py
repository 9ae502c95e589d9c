"""What a link is, in the words of the kernel's `tc netem`: one validated value. `LinkModel` applies it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

from udprism.errors import RequestError
from udprism.link import fields as read

Distribution: TypeAlias = Literal["uniform", "normal", "pareto"]
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)

MAX_DELAY_MS = 60_000.0
MIN_RATE_KBIT_S = 1.0
MAX_RATE_KBIT_S = 10_000_000.0
MAX_QUEUE_DATAGRAMS = 65_536
MAX_SEED = (1 << 53) - 1
"""Largest whole number that a browser reads back unchanged."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Gilbert and Elliott's model: a good and a bad state; a step is drawn for each datagram.

    enter_ratio, leave_ratio: probability of good to bad and of bad to good; bursts last 1 / leave_ratio datagrams in
    the mean. loss_ratio: loss in the bad state; in the good state it is the link's own loss_ratio (netem's p, r, 1-h
    and 1-k). Off where enter_ratio is 0.
    """

    enter_ratio: float = 0.0
    leave_ratio: float = 0.0
    loss_ratio: float = 1.0

    def __str__(self) -> str:
        return f"(enter {self.enter_ratio}, leave {self.leave_ratio}, loss {self.loss_ratio})"


@dataclass(frozen=True, slots=True)
class Link:
    """One link. The default of every field is off.

    jitter_ms: half the width of a uniform distribution, the standard deviation of a normal one, the scale of netem's
    Pareto table (link.jitter). reorder_ratio: so many datagrams leave at once, ahead of the delayed ones.
    corrupt_ratio: in so many one bit of the colours flips; with corrupt_header, one bit anywhere. rate_kbit_s: of IP
    packets, None for no limit; queue_datagrams: how many may wait for it, the next one is dropped. seed: the same seed
    gives the same fate to the same client and sequence number.
    """

    loss_ratio: float = 0.0
    burst: Burst = Burst()
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    distribution: Distribution = "uniform"
    keep_order: bool = False
    reorder_ratio: float = 0.0
    duplicate_ratio: float = 0.0
    corrupt_ratio: float = 0.0
    corrupt_header: bool = False
    rate_kbit_s: float | None = None
    queue_datagrams: int = 1000
    blackout: bool = False
    seed: int = 0

    @classmethod
    def from_body(cls, body: object) -> Link:
        """A link from the REST body; fields that are not named are off.

        Raises: RequestError, with the field at fault and what would be right.
        """
        given = read.table(body, None, _READERS)
        link = cls(**{name: _READERS[name](value, name) for name, value in given.items()})
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
            or self.blackout
        )

    def __str__(self) -> str:
        """What differs from a link that is off, in few words: `loss_ratio 0.02, delay_ms 40.0`."""
        off = Link()
        changed = [one.name for one in fields(self) if getattr(self, one.name) != getattr(off, one.name)]
        return ", ".join(f"{name} {getattr(self, name)}" for name in changed) or "off"

    def _refuse_contradictions(self) -> None:
        if self.burst.enter_ratio > 0 and self.burst.leave_ratio == 0:
            raise RequestError(
                "a burst that is entered needs a leave_ratio above 0 (1 / mean length in datagrams); "
                "for one without an end ask for blackout",
                field="burst.leave_ratio",
            )
        if self.keep_order and self.reorder_ratio > 0:
            raise RequestError("keep_order and reorder_ratio contradict each other: ask for one", field="keep_order")
        if self.reorder_ratio > 0 and self.delay_ms == 0:
            raise RequestError(
                "reorder_ratio needs a delay_ms above 0: reordered datagrams overtake those that wait",
                field="reorder_ratio",
            )


def client_key(name_or_address: str) -> int:
    """64-bit key of a client: of its name if it has one, otherwise of its "ip:port"."""
    return int.from_bytes(hashlib.blake2s(name_or_address.encode(), digest_size=8).digest(), "big")


def _time_ms(value: object, field: str) -> float:
    return read.number(value, field, 0.0, MAX_DELAY_MS)


def _rate(value: object, field: str) -> float | None:
    return None if value is None else read.number(value, field, MIN_RATE_KBIT_S, MAX_RATE_KBIT_S)


def _queue(value: object, field: str) -> int:
    return read.whole(value, field, 1, MAX_QUEUE_DATAGRAMS)


def _seed(value: object, field: str) -> int:
    return read.whole(value, field, 0, MAX_SEED)


def _distribution(value: object, field: str) -> Distribution:
    for known in DISTRIBUTIONS:
        if value == known:
            return known
    raise RequestError(f"expected one of {', '.join(DISTRIBUTIONS)}", field=field)


def _burst(value: object, field: str) -> Burst:
    if value is None:
        return Burst()
    given = read.table(value, field, [part.name for part in fields(Burst)])
    return Burst(**{name: read.ratio(part, f"{field}.{name}") for name, part in given.items()})


_READERS: dict[str, Callable[[object, str], Any]] = {
    "loss_ratio": read.ratio,
    "burst": _burst,
    "delay_ms": _time_ms,
    "jitter_ms": _time_ms,
    "distribution": _distribution,
    "keep_order": read.flag,
    "reorder_ratio": read.ratio,
    "duplicate_ratio": read.ratio,
    "corrupt_ratio": read.ratio,
    "corrupt_header": read.flag,
    "rate_kbit_s": _rate,
    "queue_datagrams": _queue,
    "blackout": read.flag,
    "seed": _seed,
}
