"""Measures which branches of the pure rooms their own tests take. For a person: takes a minute and a half.

    mkdir /tmp/branches
    export PURE_BRANCHES=/tmp/branches
    .venv/bin/pytest tests/{capture,columns,fuzz,ledger,link,serving,wire} tests/udp/test_receiver_endpoint.py
    .venv/bin/python -m tests.support.branches /tmp/branches

The last command prints what was never taken, and fails if there is any. Tests with random examples do not count, so
that the figure is the same in every run; nor do those that measure time, or that use sockets or threads. Import this
module before any of the product's: it also measures the imports.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from coverage import Coverage

VARIABLE: Final = "PURE_BRANCHES"
TESTS: Final = Path(__file__).parents[1]
PACKAGE: Final = TESTS.parent / "backend" / "udprism"
ROOMS: Final = ("capture", "columns", "ledger", "link", "serving", "wire")
COUNTED: Final = (*ROOMS, "fuzz", "udp/test_receiver_endpoint.py")
"""Below `tests/`: folders and modules whose tests count."""


def _coverage(folder: Path) -> Coverage:
    from coverage import Coverage  # only where branches are measured

    return Coverage(
        data_file=folder / "branches",
        data_suffix=True,
        config_file=False,
        branch=True,
        source=[str(PACKAGE / room) for room in ROOMS],
    )


def _begun() -> Coverage | None:
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    begun = _coverage(Path(folder))
    begun.start()
    return begun


_MEASURED: Final = _begun()


def _counts(item: pytest.Function) -> bool:
    if item.get_closest_marker("hypothesis") is not None:
        return False
    inside = item.path.relative_to(TESTS).as_posix()
    return inside.startswith(COUNTED) and "thread_time" not in item.function.__code__.co_names


def pytest_collection_finish() -> None:
    """All that is imported with the tests has been."""
    if _MEASURED is not None:
        _MEASURED.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure the tests that count, one by one."""
    if _MEASURED is None or not isinstance(item, pytest.Function) or not _counts(item):
        return (yield)
    _MEASURED.start()
    try:
        return (yield)
    finally:
        _MEASURED.stop()


def pytest_unconfigure() -> None:
    """Write what was measured, in each process of the run."""
    if _MEASURED is not None:
        _MEASURED.stop()
        if _MEASURED.get_data().measured_files():
            _MEASURED.save()


def main(folder: str) -> int:
    """Report on a run. Returns the exit code."""
    measured = _coverage(Path(folder))
    measured.combine([folder], keep=True)
    total = measured.report(show_missing=True, skip_covered=True)
    return 0 if total == 100 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
