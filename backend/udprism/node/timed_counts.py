"""How many datagrams each flow of a capture had over time, in steps that grow with the capture."""

from __future__ import annotations

from typing import Final

import numpy as np

from udprism.columns.types import NS_PER_MS, I64Column

STEPS: Final = 240
_FIRST_STEP_NS: Final = 10 * NS_PER_MS


class TimedCounts:
    """int64 counts by flow and step; a step doubles in length whenever the capture outgrows all of them."""

    def __init__(self, flows: int) -> None:
        self.step_ns = _FIRST_STEP_NS
        self.begin_ns: int | None = None
        self._counts = np.zeros((flows, STEPS), np.int32)

    def add(self, flow: I64Column, time_ns: I64Column) -> None:
        """One datagram each. What is older than the capture's first batch counts in the first step."""
        if self.begin_ns is None:
            self.begin_ns = int(time_ns.min())
        while int(time_ns.max()) - self.begin_ns >= STEPS * self.step_ns:
            self._counts[:, : STEPS // 2] = self._counts[:, ::2] + self._counts[:, 1::2]
            self._counts[:, STEPS // 2 :] = 0
            self.step_ns *= 2
        step = np.maximum(time_ns - self.begin_ns, 0) // self.step_ns
        np.add.at(self._counts, (flow, step), 1)

    def of(self, flow: int, last_ns: int) -> list[int]:
        """A flow's counts, up to the step of an instant."""
        steps = 0 if self.begin_ns is None else min(STEPS, (last_ns - self.begin_ns) // self.step_ns + 1)
        counts: list[int] = self._counts[flow, :steps].tolist()
        return counts
