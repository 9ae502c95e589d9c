"""What the server reports of its own sends: in order, and bounded."""

from __future__ import annotations

import numpy as np

from udprism.ledger.fates import Cause
from udprism.ledger.send_log import FateReport, SendLog


def send_log(max_reports: int) -> SendLog:
    return SendLog(np.zeros(1, np.uint32), np.zeros(1, np.int64), {}, {}, {}, max_reports)


def report(sequence: int) -> FateReport:
    return FateReport(
        np.zeros(1, np.int32), np.ones(1, np.uint32), np.array([sequence]), np.array([Cause.LINK], np.uint8)
    )


def test_reports_are_taken_once_and_oldest_first() -> None:
    told = send_log(4)
    for sequence in (3, 1, 2):
        told.report(report(sequence))
    assert [int(one.sequence[0]) for one in told.take()] == [3, 1, 2]
    assert told.take() == []
    assert told.forgotten == 0


def test_what_is_not_read_in_time_is_forgotten_oldest_first_and_counted() -> None:
    told = send_log(2)
    for sequence in range(5):
        told.report(report(sequence))
    assert [int(one.sequence[0]) for one in told.take()] == [3, 4]
    assert told.forgotten == 3


def test_a_listener_hears_each_report_as_it_is_made() -> None:
    heard: list[FateReport] = []

    class Ear:
        def report(self, report: FateReport) -> None:
            heard.append(report)

    told = SendLog(np.zeros(1, np.uint32), np.zeros(1, np.int64), {}, {}, {}, 1, Ear())
    reports = [report(3), report(1)]
    for one in reports:
        told.report(one)
    assert heard == reports
