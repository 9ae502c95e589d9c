"""What each process started by the program does first."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_NAME, _PR_SET_TIMERSLACK = 15, 29  # linux/prctl.h


def begin(name: str) -> None:
    """Take this name (15 bytes at most), wake up on time, and leave signals to the program, which ends this process.

    A terminal or a service manager sends them to all processes at once.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
        libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
