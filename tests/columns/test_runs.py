"""Distinct values, members, the median; and that no thread that serves pays for another library's import."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import udprism
from udprism.columns.runs import distinct, is_among, median


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=30))
def test_each_value_comes_once_and_in_order(values: list[int]) -> None:
    found = distinct(np.array(values, np.int32))
    assert found.dtype == np.int32
    assert found.tolist() == sorted(set(values))


@given(st.lists(st.integers(-9, 9), max_size=30), st.lists(st.integers(-9, 9), max_size=9))
def test_membership_is_that_of_a_set(values: list[int], members: list[int]) -> None:
    found = is_among(np.array(values, np.int32), np.array(members, np.int64))
    assert found.dtype == np.bool_
    assert found.tolist() == [value in set(members) for value in values]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
def test_the_median_is_that_of_the_standard_library(values: list[float]) -> None:
    assert median(np.array(values)) == pytest.approx(statistics.median(values))


def test_no_import_hides_in_them() -> None:
    code = (
        "import sys, numpy as np; from udprism.columns.runs import distinct, is_among, median;"
        "before = set(sys.modules);"
        "distinct(np.arange(9)); is_among(np.arange(99), np.arange(0, 10**9, 10**7)); median(np.arange(9.0));"
        "sys.exit(bool(set(sys.modules) - before))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


SERVING = ["udp", "ledger", "serving", "link", "relay", "columns", "wire"]
"""The rooms whose code runs on threads that serve."""


@pytest.mark.parametrize("room", SERVING)
def test_no_thread_that_serves_imports_on_its_way(room: str) -> None:
    """The pool's thread ended at its first `numpy.median` if no file descriptor was left for reading `numpy.ma`."""
    modules = sorted((Path(udprism.__file__).parent / room).rglob("*.py"))
    assert modules
    calls = re.compile(r"\bnp\.(unique|median|quantile|percentile|nanmedian|nanquantile|nanpercentile)\(")
    assert [path.name for path in modules if calls.search(path.read_text())] == []
