"""Counts flashes as WCAG 2.2 defines them ("general flash and red flash thresholds", success criterion 2.3.1).

A general flash is a pair of opposing changes in relative luminance of 10 % or more of the maximum, where the darker
image is below 0.80. A red flash is a pair of opposing transitions that involve a saturated red: R/(R+G+B) ≥ 0.8 in
linear light, and a change of (R − G − B) × 320 by more than 20. Both count only where together they cover a quarter of
any 341 × 256 px.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]

LEAST_CHANGE = 0.1
DARKER_BELOW = 0.8
RED_SHARE = 0.8
RED_CHANGE = 20.0
AREA_SHARE = 0.25


@dataclass(frozen=True)
class Counted:
    """The most flashes within one second that a quarter of the region shows."""

    general: int
    red: int


def count(pixels: npt.NDArray[np.uint8], times_ms: Samples) -> Counted:
    """pixels: uint8[frames, samples, 3], sRGB; times_ms: float64[frames]."""
    part = pixels / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    general = _opposing(luminance, LEAST_CHANGE, darker_below=DARKER_BELOW)
    total = linear.sum(axis=2)
    red_share = np.divide(linear[..., 0], total, out=np.zeros_like(total), where=total > 0)
    redness = np.maximum(0, linear[..., 0] - linear[..., 1] - linear[..., 2]) * 320
    red = _opposing(redness, RED_CHANGE, saturated=red_share >= RED_SHARE)
    return Counted(_worst_second(general, times_ms), _worst_second(red, times_ms))


def _opposing(
    values: Samples, least: float, *, darker_below: float = np.inf, saturated: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.bool_]:
    """Where a sample completes a change of at least `least` against the direction of its last; bool[frames, samples].

    Zigzag with hysteresis: steps that creep in one direction are one change, as the text's note says of fades.
    """
    changes = np.zeros(values.shape, bool)
    low = values[0].copy()  # the least value since the last fall was completed
    high = values[0].copy()
    seen_red = np.zeros(values.shape[1], bool) if saturated is None else saturated[0].copy()
    direction = np.zeros(values.shape[1], np.int8)
    for frame in range(1, len(values)):
        now = values[frame]
        low = np.where(direction <= 0, np.minimum(low, now), low)
        high = np.where(direction >= 0, np.maximum(high, now), high)
        rose = (direction <= 0) & (now - low >= least) & (low < darker_below)
        fell = (direction >= 0) & (high - now >= least) & (now < darker_below) & ~rose
        turned = rose | fell
        changes[frame] = turned
        if saturated is not None:
            seen_red |= saturated[frame]
            changes[frame] &= seen_red
            seen_red = np.where(turned, saturated[frame], seen_red)
        high = np.where(rose, now, high)
        low = np.where(fell, now, low)
        direction = np.where(rose, 1, np.where(fell, -1, direction)).astype(np.int8)
    return changes


def _worst_second(changes: npt.NDArray[np.bool_], times_ms: Samples) -> int:
    sums = np.vstack([np.zeros(changes.shape[1], np.int64), np.cumsum(changes, axis=0)])
    worst = 0
    for start, at_ms in enumerate(times_ms):
        end = int(np.searchsorted(times_ms, at_ms + 1000))
        flashes = (sums[end] - sums[start]) // 2
        worst = max(worst, int(np.quantile(flashes, 1 - AREA_SHARE, method="higher")))
        if end == len(times_ms):
            break
    return worst
