"""Any bytes: no key, no number, no clock, no colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from udprism.columns.types import I32Column, Rows
from udprism.wire.dissect import Fields
from udprism.wire.format import NO_PIXELS, REASONS, Decoded, Field, Numbering, Pixels, Sending


class Opaque:
    """`Format` that accepts any bytes."""

    name = "opaque"
    label = "opaque: any bytes, not decoded"
    port = 0
    numbering = Numbering(0, 0)
    reasons: Sequence[str] = REASONS
    row_bytes = 0
    payload_at = 0

    def decode(self, rows: Rows, length: I32Column) -> Decoded:
        n = len(rows)
        return Decoded(
            valid=np.ones(n, np.bool_),
            control=np.zeros(n, np.bool_),
            reason=np.zeros(n, np.uint8),
            key=np.zeros(n, np.uint64),
            number=np.zeros(n, np.uint32),
            numbered=np.zeros(n, np.bool_),
            marks=np.zeros(n, np.uint16),
            rgb=np.zeros((n, 3), np.uint8),
            coloured=np.zeros(n, np.bool_),
            all_valid=True,
        )

    def flow_name(self, data: bytes) -> str:
        return ""

    def fields(self, data: bytes) -> list[Field]:
        fields = Fields(data)
        fields.rest("data", 0)
        return fields.found

    def pixels(self, data: bytes) -> Pixels:
        return NO_PIXELS

    def encoder(self, sending: Sending) -> None:
        return None
