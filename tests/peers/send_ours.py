"""Run by itself: `python send_ours.py FORMAT TARGET PIXELS FRAMES` sends what this program sends, and its goodbye.

Frame i is a first pixel of (i modulo 256, 7, 9) and the rest (1, 2, 3), 250 frames a second.
"""

from __future__ import annotations

import socket
import sys
import time

import numpy as np

from udprism.columns.types import I32Column, U32Column
from udprism.wire.format import Encoder, Sending
from udprism.wire.formats import FORMATS

PERIOD_S = 0.004


class Sender:
    """One sender on one socket: counts by key."""

    def __init__(self, form: str, target: str, pixels: int) -> None:
        self.numbering = FORMATS[form].numbering
        encoder = FORMATS[form].encoder(Sending(pixels, bytes(range(16)), 1, "udprism"))
        assert encoder is not None
        self.encoder: Encoder = encoder
        self.target = target, FORMATS[form].port
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.count: dict[int, int] = {}
        self.part: I32Column = np.arange(len(encoder.parts), dtype=np.int32)
        self.out = np.zeros((len(encoder.parts), encoder.width), np.uint8)
        self.picture = np.tile(np.array((1, 2, 3), np.uint8), (pixels, 1))

    def numbers(self) -> U32Column:
        found = np.zeros(len(self.part), np.uint32)
        for place, part in enumerate(self.encoder.parts if self.numbering.modulus else ()):
            count = self.count.get(part.key, 0)
            found[place] = self.numbering.at(count)
            self.count[part.key] = count + 1
        return found

    def frame(self, number: int) -> None:
        self.picture[0] = number % 256, 7, 9
        rgb = np.broadcast_to(self.picture, (len(self.part), *self.picture.shape))
        now = np.full(len(self.part), time.time_ns())
        self.send(self.encoder.encode(self.out, self.part, self.numbers(), now, rgb))

    def end(self) -> None:
        for _ in range(self.encoder.goodbyes):
            self.send(self.encoder.goodbye(self.out, self.part, self.numbers()))

    def send(self, length: I32Column) -> None:
        for row, size in zip(self.out, length.tolist(), strict=True):
            self.sock.sendto(row[:size].tobytes(), self.target)


def main() -> None:
    form, target, pixels, frames = sys.argv[1:]
    sender = Sender(form, target, int(pixels))
    for number in range(int(frames)):
        sender.frame(number)
        time.sleep(PERIOD_S)
    sender.end()


if __name__ == "__main__":
    main()
