"""Each row of the table measures something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.endurance, pytest.mark.skipif(sys.platform != "linux", reason="processor time is in /proc")]


@pytest.mark.parametrize(("row", "most"), [("resident", 200.0), ("ready", 30.0), ("idle", 100.0), ("link", 100.0)])
def test_a_row_is_a_figure_with_its_spread_and_the_load_of_the_machine(row: str, most: float) -> None:
    command = [sys.executable, str(Path(__file__).with_name("table.py")), row, "--rounds", "1", "--json"]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert 0 < said["low"] == said["median"] == said["high"] < most
    assert {"unit", "rounds", "load", "cpus", "busy"} <= said.keys()
