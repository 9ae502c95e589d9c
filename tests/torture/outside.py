"""A running program seen from outside: what the kernel and /metrics say of it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError, URLError

from support.program import Program

DEADLINE_S = 60.0
"""For what takes a second on an idle machine."""


def wait_until(what: Callable[[], bool], deadline_s: float = DEADLINE_S, every_s: float = 0.02) -> float:
    """Seconds until it was so. Raises: TimeoutError."""
    began_s = time.monotonic()
    while not what():
        if time.monotonic() - began_s > deadline_s:
            raise TimeoutError(f"not so within {deadline_s:g} s")
        time.sleep(every_s)
    return time.monotonic() - began_s


def metrics(program: Program) -> dict[str, float]:
    """Every sample of /metrics by its name with labels, without the `udprism_` in front."""
    text = program.text("/metrics")
    return {name: float(value) for name, value in re.findall(r"^udprism_(\S+) (\S+)$", text, re.MULTILINE)}


def total(samples: dict[str, float], name: str) -> int:
    """The sum over a metric's labels."""
    return round(sum(value for key, value in samples.items() if key.split("{")[0] == name))


def is_ready(program: Program) -> bool | None:
    """What /readyz says; None where nobody answers."""
    try:
        return bool(program.get("/readyz")["ready"])
    except HTTPError as error:
        return False if error.code == 503 else None
    except (URLError, OSError):
        return None


def states(program: Program) -> dict[str, int]:
    """Hosted clients by state."""
    found = {key: int(value) for key, value in metrics(program).items() if key.startswith("clients{")}
    return {key.split('"')[1]: value for key, value in found.items()}


def rss_bytes(pid: int) -> int:
    """Memory in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid: int) -> float:
    """Processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """How many are open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """How many run."""
    return len(os.listdir(f"/proc/{pid}/task"))


def kernel_drops(port: int) -> int:
    """Datagrams that found the receive buffers of this UDP port full."""
    drops = 0
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        with suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if int(words[1].rpartition(":")[2], 16) == port:
                    drops += int(words[-1])
    return drops
