"""Every length of a tick that a byte can say, against whole numbers without a limit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from udprism.capture.packets import UNKNOWN_NS
from udprism.capture.ticks import to_ns

NOW_S = 1_700_000_000


def exactly(ticks: int, resolution: int, offset_s: int) -> int:
    length = Fraction(1, 10**resolution if resolution < 128 else 2 ** (resolution - 128))
    time_ns = int(ticks * length * 10**9) + offset_s * 10**9
    return time_ns if -(2**63) < time_ns < 2**63 else UNKNOWN_NS


@pytest.mark.parametrize("resolution", range(256))
@pytest.mark.parametrize("offset_s", [0, 3600, -NOW_S])
def test_ticks_are_nanoseconds_to_the_last_one(resolution: int, offset_s: int) -> None:
    per_s = 10**resolution if resolution < 128 else 2 ** (resolution - 128)
    rng = np.random.default_rng(resolution)
    values = [0, 1, 999, 1 << 32, 2**64 - 1, NOW_S * per_s + per_s // 3, NOW_S * per_s + per_s - 1]
    values += [int(value) for value in rng.integers(0, 2**64, 50, np.uint64)]
    values += [int(value) for value in rng.integers(0, min(2**64, NOW_S * per_s), 50, np.uint64)]
    values = [value for value in values if value < 2**64]
    found = to_ns(np.array(values, np.uint64), resolution, offset_s)
    assert found.tolist() == [exactly(value, resolution, offset_s) for value in values]


@pytest.mark.parametrize("offset_s", [2**62, -(2**63), 9_000_000_000, 8_000_000_000])
def test_an_offset_of_ages_is_no_time(offset_s: int) -> None:
    assert to_ns(np.array([NOW_S * 10**9], np.uint64), 9, offset_s).tolist() == [UNKNOWN_NS]
