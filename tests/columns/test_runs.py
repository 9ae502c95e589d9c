"""The distinct values of a column, and that the receiving threads never pay for another library's import."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from udprism.columns.runs import distinct


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=30))
def test_each_value_comes_once_and_in_order(values: list[int]) -> None:
    found = distinct(np.array(values, np.int32))
    assert found.dtype == np.int32
    assert found.tolist() == sorted(set(values))


def test_no_import_hides_in_it() -> None:
    """As one hides in `numpy.unique`: 30 ms on the thread that called it first."""
    code = (
        "import sys, numpy as np; from udprism.columns.runs import distinct; before = set(sys.modules);"
        "distinct(np.arange(9)); sys.exit(bool(set(sys.modules) - before))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
