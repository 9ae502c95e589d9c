"""The server's or the pool's thread dies or hangs, again and again.

Promise: /readyz says so within two seconds of a hang, and when it is over all goes on; a thread that dies is restarted
and its clients live on; after five deaths in a minute, or a hang without end, the process ends with exit code 70.
"""

from __future__ import annotations

from random import Random

from support import program
from support.program import Program
from torture import faulty
from torture.figure import Figure
from torture.outside import is_ready, metrics, total, wait_until
from udprism.cli.serve import EXIT_GAVE_UP
from udprism.udp.thread import MAX_RESTARTS

INJECTIONS = 100
"""Half of them deaths, half of them hangs."""
CLIENTS = 100
UNREADY_WITHIN_S = 3.0
"""Two seconds without a heartbeat, half a second until somebody looks, and what it takes to ask."""
GIVEN_UP_WITHIN_S = 45.0
"""Of a hang without end: half a minute until nothing more is hoped for, and what it takes to end."""
_HANG_S = 4


def run(scale: float, rng: Random) -> Figure:
    """Programs one after the other, each with as many faults as it must survive, and one more."""
    programs = max(2, round(INJECTIONS * scale / MAX_RESTARTS))
    deaths = [number % 2 == 0 for number in range(programs * MAX_RESTARTS)]
    rng.shuffle(deaths)
    unready_s: list[float] = []
    back_s: list[float] = []
    codes: list[int] = []
    for turn in range(programs):
        which = ("server", "pool")[turn % 2]  # each thread has its own five
        with program.ephemeral("--clients", str(CLIENTS), "--rate-hz", "20", command=faulty.COMMAND) as served:
            wait_until(lambda: _live(served))
            died = 0
            for _ in range(MAX_RESTARTS):
                dies = deaths.pop()
                faulty.tell(served, f"die {which}" if dies else f"hang {which} {_HANG_S}")
                died += dies
                if not dies:
                    unready_s.append(wait_until(lambda: not is_ready(served)))
                back_s.append(wait_until(lambda: _restarts(served) == died and bool(is_ready(served))))  # noqa: B023
                wait_until(lambda: _goes_on(served))
            if turn % 2:
                faulty.tell(served, f"hang {which} {10 * GIVEN_UP_WITHIN_S}")
            for number in range(died, 0 if turn % 2 else MAX_RESTARTS + 1):
                faulty.tell(served, f"die {which}")
                wait_until(lambda: _is_over(served, number))  # noqa: B023
            codes.append(served.process.wait(GIVEN_UP_WITHIN_S))
    slowest_s = max(unready_s, default=0.0)
    return Figure(
        f"{programs * MAX_RESTARTS} faults in {programs} programs, {len(unready_s)} of them hangs; unready "
        f"after {slowest_s:.1f} s at most, ready again within {max(back_s):.1f} s; "
        f"exit codes after one death more, or a hang without end: {sorted(set(codes))}",
        slowest_s <= UNREADY_WITHIN_S and set(codes) == {EXIT_GAVE_UP},
    )


def _restarts(served: Program) -> int:
    return total(metrics(served), "thread_restarts_total")


def _is_over(served: Program, restarts: int) -> bool:
    """Whether the process has ended, or restarted a thread more often than that."""
    try:
        return served.process.poll() is not None or _restarts(served) > restarts
    except OSError:  # it ends just now
        return False


def _live(served: Program) -> bool:
    return metrics(served).get('clients{state="live"}') == CLIENTS


def _goes_on(served: Program) -> bool:
    """Whether every client is live and more arrives."""
    before = metrics(served)["datagrams_received_total"]
    return _live(served) and metrics(served)["datagrams_received_total"] > before
