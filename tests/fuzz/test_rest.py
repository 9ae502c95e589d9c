"""A short turn of `python -m tests.fuzz.rest`: the REST API keeps to its own description."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_rest_api_keeps_to_its_own_description(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.rest", "--max-examples", "10", "--seed", "20261128"],
        env={"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
