"""The fixture `udp_relay` comes with the installed package, and costs a session that does not use it nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

from udprism import pytest_plugin


def test_pytest_finds_the_plugin_wherever_udprism_is_installed() -> None:
    (entry,) = (one for one in entry_points(group="pytest11") if one.name == "udprism")
    assert entry.load() is pytest_plugin


def test_the_plugin_imports_nothing_heavy_until_it_is_used() -> None:
    script = "import sys, udprism.pytest_plugin; print('numpy' in sys.modules, 'fastapi' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.split() == ["False", "False"]
