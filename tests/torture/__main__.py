"""`python -m tests.torture [--scale 0.1] [--seed N] [--only NAME]`, from the root of the repository.

Two suites at a time, each in a process of its own, a line with its figures each; exit code 1 where a promise broke.
"""

from __future__ import annotations

import argparse
import importlib
import random
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does: what tests share is `support`, `torture`, `web`

from torture.figure import Figure
from torture.suites import SUITES
from udprism.udp.descriptors import raise_limit

AT_A_TIME = 2


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.splitlines()[2])
    parser.add_argument("--scale", type=float, default=0.1, help="part of the promised figures (1: all of them)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--only", choices=SUITES, help="this suite alone")
    asked = parser.parse_args()
    if asked.only:
        return 0 if _run(asked.only, asked.scale, asked.seed) else 1
    print(f"seed {asked.seed}, scale {asked.scale:g}", flush=True)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        codes = list(pool.map(lambda name: _start(name, asked.scale, asked.seed), SUITES))
    broken = [name for name, code in zip(SUITES, codes, strict=True) if code]
    if broken:
        print("once more, each alone: two at a time share the machine, and a promise in time is not both's fault")
    return max((_start(name, asked.scale, asked.seed) for name in broken), default=0)


def _start(name: str, scale: float, seed: int) -> int:
    words = ["--only", name, "--scale", str(scale), "--seed", str(seed)]
    done = subprocess.run([sys.executable, "-m", "tests.torture", *words], capture_output=True, text=True)
    print(done.stdout, end="", flush=True)
    if done.returncode:
        print(done.stderr, end="", file=sys.stderr, flush=True)
    return min(1, abs(done.returncode))


def _run(name: str, scale: float, seed: int) -> bool:
    raise_limit()
    suite = importlib.import_module(f"torture.suites.{name}")
    began_s = time.monotonic()
    try:
        figure: Figure = suite.run(scale, random.Random(f"{seed} {name}"))
    except Exception as error:  # noqa: BLE001  # whatever broke, the other suites still have their say
        traceback.print_exc()
        figure = Figure(f"{type(error).__name__}: {error}", False)
    took_s = time.monotonic() - began_s
    print(f"{'PASS' if figure.ok else 'FAIL'} {name:22} {figure.text} [{took_s:.0f} s]", flush=True)
    return figure.ok


if __name__ == "__main__":
    sys.exit(main())
