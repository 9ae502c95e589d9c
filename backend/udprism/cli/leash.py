"""Programs that end when their standard input does.

What starts it holds the other end of a pipe. Whatever ends that program, SIGKILL included, closes the pipe.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading
from collections.abc import Callable


def end_with_parent(end: Callable[[], None]) -> None:
    """Call `end`, on a thread of its own, when standard input is closed."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        end()

    threading.Thread(target=wait, name="udprism-leash", daemon=True).start()


def run() -> None:
    """The udprism command with this process' arguments, on a leash."""
    end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    runpy.run_module("udprism", run_name="__main__", alter_sys=True)
