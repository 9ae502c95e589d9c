"""Other people's Python packages, pinned, each set in an environment of its own: they are peers, not dependencies."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

_HOME = Path(__file__).parents[2] / ".peers"
CAPTURE_READERS = ("dpkt==1.9.8", "scapy==2.8.0", "python-pcapng==2.1.1")


def python_with(*requirements: str) -> Path:
    """The interpreter of an environment that has exactly these, made if missing and kept for the next run.

    Raises: subprocess.CalledProcessError, with pip's words, if they cannot be installed.
    """
    home = _HOME / hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:12]
    _HOME.mkdir(exist_ok=True)
    with _HOME.joinpath("lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        done = home / "done"
        if not done.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            subprocess.run([home / "bin" / "pip", "install", "-q", *requirements], check=True)
            done.touch()
    return home / "bin" / "python"
