"""Measures which branches of the pure rooms their own tests take, and fails if there is one that none takes.

    .venv/bin/python -m tests.support.branches

Tests with random examples do not count, so that the figure is the same in every run; nor do those that measure time,
or that use other programs, sockets or threads. Import this module before any of the product's: it also measures the
imports.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
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
APART: Final = ("capture/test_tools.py", "ledger/test_ledger_at_length.py", "link/test_statistics.py")
"""Those that do not: they use other programs, or take many seconds for what others cover."""


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


def _counts(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function) or item.get_closest_marker("hypothesis") is not None:
        return False
    inside = item.path.relative_to(TESTS).as_posix()
    return inside.startswith(COUNTED) and inside not in APART and "thread_time" not in item.function.__code__.co_names


@pytest.hookimpl(trylast=True)  # Hypothesis marks its tests first
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run only what counts."""
    if _MEASURED is not None:
        items[:] = filter(_counts, items)


def pytest_unconfigure() -> None:
    """Write what was measured, in each process of the run."""
    if _MEASURED is not None:
        _MEASURED.stop()
        if _MEASURED.get_data().measured_files():
            _MEASURED.save()


def main() -> int:
    """Run the tests and report. Returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        tests = [str(TESTS / path) for path in COUNTED]
        environment = os.environ | {VARIABLE: folder}
        run = subprocess.run([sys.executable, "-m", "pytest", *tests, *sys.argv[1:]], env=environment, check=False)
        if run.returncode:
            return run.returncode
        measured = _coverage(Path(folder))
        measured.combine([folder])
        total = measured.report(show_missing=True, skip_covered=True)
    return 0 if total == 100 else 1


if __name__ == "__main__":
    sys.exit(main())
