"""Philox4x32-10: random words that are a pure function of a key and a counter, for many rows at once.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), and the known answers of
its library, Random123. The 32-bit variant rather than the 64-bit one of `numpy.random.Philox`, because NumPy has no
product of 64 x 64 to 128 bits: a row costs a quarter this way.
"""

from __future__ import annotations

import numpy as np

from udprism.columns.types import U64Column

WORD_RANGE = 1 << 32
"""Words are 0 to WORD_RANGE - 1."""

ROUNDS = 10
_MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], dtype=np.uint64)
_WEYL = np.array([[0x9E3779B9], [0xBB67AE85]], dtype=np.uint64)
_LOW = np.uint64(WORD_RANGE - 1)
_HALF = np.uint64(32)


def philox(key: U64Column, counter_low: U64Column, counter_high: U64Column) -> U64Column:
    """uint64[4, n]: four words of 32 bits for each of n rows.

    key, counter_low, counter_high: uint64[n]. Of each, the low half is the generator's even word (key[0], counter[0],
    counter[2]) and the high half its odd one.
    """
    even = np.stack((counter_low & _LOW, counter_high & _LOW))
    odd = np.stack((counter_low >> _HALF, counter_high >> _HALF))
    if len(key) and (key == key[0]).all():
        key = key[:1]  # one for all: nearly always
    round_key = np.stack((key & _LOW, key >> _HALF))
    product = np.empty_like(even)
    for _ in range(ROUNDS):
        np.multiply(even, _MULTIPLIERS, out=product)
        np.right_shift(product, _HALF, out=even)
        np.bitwise_xor(even[::-1], odd, out=odd)
        np.bitwise_xor(odd, round_key, out=odd)
        np.bitwise_and(product[::-1], _LOW, out=even)
        even, odd = odd, even
        round_key = (round_key + _WEYL) & _LOW
    return np.stack((even[0], odd[0], even[1], odd[1]))
