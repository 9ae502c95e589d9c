"""The fates of datagrams and their causes: each of these words is defined here and nowhere else."""

from __future__ import annotations

from enum import IntEnum


class Fate(IntEnum):
    """The fate of one datagram."""

    IN_FLIGHT = 0
    RECEIVED = 1
    LOST = 2
    LATE = 3


class Cause(IntEnum):
    """Why a datagram was lost.

    UNKNOWN_PATH: the sender is another process, only the sequence is known. PATH: the sender's node reports that it
    left, and the kernel here did not drop it. AWAITING: the sender's node has not reported it yet.
    """

    NONE = 0
    LINK = 1
    SENDER_KERNEL = 2
    RECEIVER_KERNEL = 3
    UNEXPLAINED = 4
    UNKNOWN_PATH = 5
    PATH = 6
    AWAITING = 7


# An arrival's flags.
NEW = 1
DUPLICATE = 2
REORDERED = 4
"""It arrived after a higher number."""
LATE = 8
"""It arrived after it was declared lost."""
BEYOND = 16
"""Too far from the highest number to tell what it is: not counted as received."""

# A lane's cell.
CELL_REORDERED = 4
CELL_DUPLICATE = 8
CELL_CORRUPT = 16
CELL_CAUSE_SHIFT = 5
CELL_SECONDS_SHIFT = 5
CELL_MOST_SECONDS = 7
CELL_FATE_MASK = 3
CELL_IN_FLIGHT = (1, 0, 0, 0)
"""A cell is r, g, b and a byte: Fate in bits 0 and 1, CELL_… in bits 2 to 4. In the bits above, a lost one has its
Cause, and one that arrived has how many whole seconds began since the one before it, CELL_MOST_SECONDS for more. A
datagram in flight is marked by its red; a cell that is all zero is empty."""
