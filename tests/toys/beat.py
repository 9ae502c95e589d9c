"""A toy format: `B`, a number from 1 to 15, red, green, blue. It counts as DDP does, in cycles of 15."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from udprism.columns.types import I32Column, I64Column, Rows, U8Column, U32Column
from udprism.wire.dissect import Fields, in_order
from udprism.wire.format import REASONS, Decoded, Field, Numbering, Part, Pixels, Reason, Sending

_BYTES = 5


class Beat:
    """`Format` for five bytes."""

    name = "beat"
    label = "Beat"
    port = 0
    numbering = Numbering(15, 1)
    reasons: Sequence[str] = REASONS
    row_bytes = _BYTES
    payload_at = 2

    def decode(self, rows: Rows, length: I32Column) -> Decoded:
        n = len(rows)
        reason = np.zeros(n, np.uint8)
        in_order(reason, (length < _BYTES, Reason.SHORT), (rows[:, 0] != ord("B"), Reason.FOREIGN))
        valid = reason == 0
        return Decoded(
            valid=valid,
            control=np.zeros(n, np.bool_),
            reason=reason,
            key=np.zeros(n, np.uint64),
            number=rows[:, 1].astype(np.uint32),
            numbered=rows[:, 1] > 0,
            marks=np.zeros(n, np.uint16),
            rgb=rows[:, 2:5],
            coloured=np.ones(n, np.bool_),
            all_valid=bool(valid.all()),
        )

    def flow_name(self, data: bytes) -> str:
        return ""

    def fields(self, data: bytes) -> list[Field]:
        fields = Fields(data)
        fields.rest("data", 0)
        return fields.found

    def pixels(self, data: bytes) -> Pixels:
        return Pixels(np.arange(3), np.frombuffer(data, np.uint8)[2:5], 3)

    def encoder(self, sending: Sending) -> BeatEncoder:
        return BeatEncoder()


class BeatEncoder:
    """`Encoder` for the first pixel."""

    refresh_s = 1.0
    goodbyes = 0
    width = _BYTES
    parts: Sequence[Part] = (Part(0, 0, 1),)

    def encode(
        self, out: Rows, part: I32Column, number: U32Column, sent_unix_ns: I64Column, rgb: U8Column
    ) -> I32Column:
        out[:, 0] = ord("B")
        out[:, 1] = number
        out[:, 2:5] = rgb[:, 0]
        return np.full(len(part), _BYTES, np.int32)

    def goodbye(self, out: Rows, part: I32Column, number: U32Column) -> I32Column:
        return np.zeros(len(part), np.int32)
