"""File descriptors: raised at start, and asked before clients are added."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from udprism.errors import RequestError

_KEPT_FREE = 320
"""For browsers, the store, logs and short-lived sockets."""


def raise_limit() -> int | None:
    """Raise the soft limit to the hard one; the limit now, or None if there is none."""
    if sys.platform == "win32":
        return None
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses what its kernel cannot do
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def room() -> int | None:
    """How many more sockets fit; None if nothing limits them."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    directory = Path("/proc/self/fd") if sys.platform == "linux" else Path("/dev/fd")
    if soft == resource.RLIM_INFINITY or not directory.exists():
        return None
    return max(0, soft - len(os.listdir(directory)) - _KEPT_FREE)


def require_room(count: int) -> None:
    """Raises: RequestError (409) that says how many clients fit."""
    fits = room()
    if fits is not None and count > fits:
        raise RequestError(
            f"{count} more clients need {count} file descriptors; only {fits} more fit. "
            "Raise the limit (ulimit -n) and start again",
            field="count",
            kind="too-many-clients",
        )
