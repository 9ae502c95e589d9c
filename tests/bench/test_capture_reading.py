"""Captures are read many times faster than by the usual libraries, side by side in one run."""

from __future__ import annotations

import pytest

from bench import capture_reading

pytestmark = pytest.mark.slow  # takes all of a processor, and other tests beside it would take it from both

DATAGRAMS = 300_000


def test_reading_in_columns_is_twenty_times_dpkt_and_two_hundred_times_scapy() -> None:
    for suffix, best in capture_reading.measure(DATAGRAMS).items():
        assert best["udprism"] > 20 * best["dpkt"], (suffix, best)
        assert best["udprism"] > 200 * best["scapy"], (suffix, best)
