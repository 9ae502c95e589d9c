"""The disk is full, then what is kept cannot be written, then its file is damaged.

Promise: streams go on, each change that cannot be kept is refused (507) and nothing is changed, /readyz says so and
stays ready; a damaged file is set aside, not emptied, and a new one begun.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.error import HTTPError

from support import program
from support.program import Program
from torture import faulty
from torture.figure import Figure
from torture.outside import metrics, total, wait_until
from torture.small_disk import make_read_only, small_disk
from udprism.__main__ import EXIT_USAGE
from udprism.node.store import FILE_NAME

CHANGES = 1_000
CLIENTS = 100
DISK_BYTES = 2 << 20
_PAGE_BYTES = 4096


def run(scale: float, rng: Random) -> Figure:
    """On a file system of its own, in memory, that nobody else sees."""
    changes = max(20, round(CHANGES * scale))
    with small_disk(DISK_BYTES) as disk:
        with _serving(disk / "data") as served:
            served.ask("PUT", "/api/links/default", {"delay_ms": 1})
            wait_until(lambda: _live(served) == CLIENTS)
            filler = disk / "filler"
            full = _refusals(served, lambda: _fill(filler), filler.unlink, changes, rng)
            locked = _refusals(
                served, lambda: faulty.tell(served, "disk off"), lambda: faulty.tell(served, "disk on"), changes, rng
            )
            kept = _kept(served)
            lost = sum(one["ledger"]["lost"] for one in served.get("/api/clients?limit=1000")["clients"])
            restarts = total(metrics(served), "thread_restarts_total")
            served.process.kill()
        with _serving(disk / "data") as served:
            same = _kept(served) == kept
            _fill(filler)
            served.process.kill()
        with _serving(disk / "data") as served:
            same &= _kept(served) == kept and not _change(served, rng)
            filler.unlink()
            served.end()  # which brings all from the journal into the file
        aside = _damage(disk / "data", rng)
        make_read_only(disk)
        start = program.run("serve", *program.ANY_PORTS, "--data", str(disk / "data"))
    return Figure(
        f"{full.refused} of {changes} changes refused on a full disk, {locked.refused} of {changes} on one that lets "
        f"nobody write; {full.wrong + locked.wrong} took effect all the same, {lost} datagrams lost, {restarts} thread "
        f"restarts; after kill -9, with room and without, {'' if same else 'NOT '}as acknowledged; the damaged file is "
        f"{'set aside whole' if aside else 'NOT set aside'}; a start on a read-only disk ends with {start.returncode}",
        full.ok and locked.ok and lost == 0 and restarts == 0 and same and aside and start.returncode == EXIT_USAGE,
    )


class _Refusals:
    """What became of changes that could not be kept."""

    def __init__(self) -> None:
        self.refused = 0
        self.wrong = 0
        self.ready: bool | None = None
        self.said = False
        self.received = 0
        self.after = False
        """Whether a change is kept again when there is room."""

    @property
    def ok(self) -> bool:
        """Whether all was as promised."""
        return (
            self.refused > 0 and self.wrong == 0 and bool(self.ready) and self.said and self.received > 0 and self.after
        )


def _refusals(
    served: Program, begin: Callable[[], object], end: Callable[[], object], changes: int, rng: Random
) -> _Refusals:
    seen = _Refusals()
    begin()
    wait_until(lambda: not _change(served, rng))  # what the journal has room for is kept rightly
    before, received_before = _kept(served), metrics(served)["datagrams_received_total"]
    for _ in range(changes):
        seen.refused += not _change(served, rng)
    seen.wrong = 0 if _kept(served) == before else 1
    wait_until(lambda: metrics(served)["datagrams_received_total"] > received_before)
    seen.received = round(metrics(served)["datagrams_received_total"] - received_before)
    health = served.get("/readyz")
    seen.ready = health["ready"]
    seen.said = any(check["name"] == "store" and not check["ok"] for check in health["checks"])
    end()
    wait_until(lambda: _change(served, rng))
    seen.after = all(check["ok"] for check in served.get("/readyz")["checks"])
    return seen


def _change(served: Program, rng: Random) -> bool:
    """One change, of any kind; False where it was refused for want of a place to keep it."""
    one = rng.choice(served.get("/api/clients?limit=1000")["clients"])
    method, path, body = rng.choice(
        (
            ("POST", "/api/clients", {"name": f"n{rng.randrange(1 << 60):x}", "rate_hz": 1.0}),
            ("PATCH", f"/api/clients/{one['id']}", {"rate_hz": rng.randrange(1, 1000) / 100}),
            ("PUT", f"/api/links/{one['id']}", {"delay_ms": rng.randrange(1, 100)}),
            ("PUT", "/api/links/default", {"delay_ms": rng.randrange(1, 100)}),
        )
    )
    try:
        served.ask(method, path, body)
    except HTTPError as error:
        if error.code != 507:
            raise
        return False
    return True


def _kept(served: Program) -> list[Any]:
    """What is to be there after a restart."""
    clients = served.get("/api/clients?limit=1000")["clients"]
    return [
        served.get("/api/links/default"),
        *([one["id"], one["name"], one["rate_hz"], one["link"]] for one in clients),
    ]


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(_PAGE_BYTES))
        except OSError:
            return


def _damage(directory: Path, rng: Random) -> bool:
    """Overwrite some of each page but the first; whether the next program serves, and keeps the file beside."""
    path = directory / FILE_NAME
    content = bytearray(path.read_bytes())
    for at in range(_PAGE_BYTES, len(content), _PAGE_BYTES):
        content[at : at + 64] = rng.randbytes(64)
    path.write_bytes(content)
    with _serving(directory) as served:
        wait_until(lambda: _live(served) == CLIENTS)  # a first start's
        served.process.kill()
    (aside,) = directory.glob("udprism.damaged-*.sqlite3")
    return aside.read_bytes() == bytes(content)


def _live(served: Program) -> int:
    return round(metrics(served).get('clients{state="live"}', 0))


def _serving(directory: Path) -> Any:
    return program.running(
        "serve",
        *program.ANY_PORTS,
        "--data",
        str(directory),
        "--clients",
        str(CLIENTS),
        "--rate-hz",
        "10",
        command=faulty.COMMAND,
    )
