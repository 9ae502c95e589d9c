"""The words that every layer shares: states, fates, causes, and the batch.

Instants are integers in nanoseconds: `now_ns` and `deadline_ns` are monotonic, a name with `unix` is the wall clock.
A *slot* is a row in a table of columns (int32); a slot is reused, an id (text) never is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

BoolColumn: TypeAlias = npt.NDArray[np.bool_]
U8Column: TypeAlias = npt.NDArray[np.uint8]
U16Column: TypeAlias = npt.NDArray[np.uint16]
U32Column: TypeAlias = npt.NDArray[np.uint32]
U64Column: TypeAlias = npt.NDArray[np.uint64]
I32Column: TypeAlias = npt.NDArray[np.int32]
I64Column: TypeAlias = npt.NDArray[np.int64]
F64Column: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.uint8]
"""uint8[n, width]: one datagram's bytes a row; what lies behind its length is rubbish."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000

ModeName = Literal["auto", "measured", "plain"]


class State(IntEnum):
    """What a hosted client is doing. FREE marks a slot that nobody uses."""

    FREE = 0
    CONNECTING = 1
    LIVE = 2
    SILENT = 3
    REFUSED = 4
    ERROR = 5
    PAUSED = 6


class Mode(IntEnum):
    """Which stream a hosted client asked for, or (as `stream`) which one it gets."""

    AUTO = 0
    MEASURED = 1
    PLAIN = 2


class Fate(IntEnum):
    """What became of one datagram."""

    IN_FLIGHT = 0
    RECEIVED = 1
    LOST = 2
    LATE = 3


class Cause(IntEnum):
    """Why a datagram was lost. UNKNOWN_PATH: the sender is another process, only the sequence is known."""

    NONE = 0
    LINK = 1
    SENDER_KERNEL = 2
    RECEIVER_KERNEL = 3
    UNEXPLAINED = 4
    UNKNOWN_PATH = 5


@dataclass(slots=True)
class Arrivals:
    """One batch of datagrams, in the order in which the kernel handed them over.

    slot: int32[n], the client's slot. received_unix_ns: int64[n], the kernel's stamp. length: int32[n], bytes on the
    wire (may exceed the row's width: the rest was cut off). rows: uint8[n, width].
    """

    slot: I32Column
    received_unix_ns: I64Column
    length: I32Column
    rows: Rows

    def __len__(self) -> int:
        return len(self.slot)


class Clock(Protocol):
    """Where a shell reads the time: the core only ever gets the values."""

    def now_ns(self) -> int:
        """Monotonic, nanoseconds."""

    def unix_ns(self) -> int:
        """Wall clock, Unix nanoseconds; may step."""


Address: TypeAlias = tuple[str, int]
"""(IP address as text, port)."""
NEVER_NS = 1 << 62
"""An instant that does not come."""
