"""Keeps what happened over time on the disk, now and then and at the end, and brings it back at the start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TypeVar

from udprism.errors import RequestError
from udprism.node import history_file
from udprism.node.assembly import Assembly
from udprism.node.history_file import KeptHistory, StepsByLevel

T = TypeVar("T")

_LEAST_PAUSE_S = 60.0
_MOST_BYTES_PER_S = 1_000_000
"""On average: a large file is written less often."""
_FLOWS_AT_ONCE = 64
"""Copied in one turn of the pool's thread, which has other things to do."""
_PATIENCE_S = 10.0

log = logging.getLogger("udprism.history")


class HistoryKeeper:
    """Hosted clients and all of them together. Its thread waits for the disk, so that no other has to."""

    def __init__(
        self, assembly: Assembly, directory: Path | None, given_up: Callable[[BaseException | None], None]
    ) -> None:
        """directory: where the file lies; None keeps nothing. given_up: told of a bug on this thread."""
        self._assembly = assembly
        self._directory = directory
        self._given_up = given_up
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="udprism-history", daemon=True)
        self.written = 0
        """How often the file was written."""
        self.failed = 0
        """How often it could not be."""

    def restore(self) -> None:
        """Bring back what was kept, before the pool's thread starts; then go on keeping."""
        if self._directory is None:
            return
        try:
            kept = history_file.read(self._directory)
        except (OSError, ValueError) as error:
            log.warning("what happened in earlier runs cannot be read, and is begun anew: %s", error)
            kept = None
        if kept is not None:
            self._bring_back(kept)
        self._thread.start()

    def _bring_back(self, kept: KeptHistory) -> None:
        pool, now_ns = self._assembly.pool, self._assembly.clock.now_ns()
        offset_ns = self._assembly.clock.unix_ns() - now_ns
        pool.timeline.restore(None, kept.whole, now_ns, offset_ns)
        for slot, client in pool.table.clients.items():
            if client.id in kept.flows:
                pool.timeline.restore(slot, kept.flows[client.id], now_ns, offset_ns)
        self._assembly.events.restore(kept.events)

    def stop(self) -> None:
        """Keep what there is, while the pool's thread can still be asked."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        try:
            pause_s = _LEAST_PAUSE_S
            while not self._stopped.wait(pause_s):
                pause_s = max(_LEAST_PAUSE_S, self._keep() / _MOST_BYTES_PER_S)
            self._keep()
        except BaseException as error:
            self._given_up(error)
            raise

    def _keep(self) -> int:
        """Write the file; returns its bytes, 0 if it could not be written."""
        assert self._directory is not None
        try:
            size_bytes = history_file.write(self._directory, self._gathered())
        except (RequestError, CancelledError, TimeoutError):  # the program ends, or is too busy: the next time
            return 0
        except OSError as error:
            if self.failed == 0:
                log.warning("what happened over time cannot be kept: %s; the file of before stays", error)
            self.failed += 1
            return 0
        self.written += 1
        return size_bytes

    def _gathered(self) -> KeptHistory:
        pool, clock = self._assembly.pool, self._assembly.clock
        offset_ns = clock.unix_ns() - clock.now_ns()
        whole = self._ask(lambda: pool.timeline.kept(None, offset_ns))
        slots = self._ask(lambda: list(pool.table.clients))
        flows: dict[str, StepsByLevel] = {}
        for begin in range(0, len(slots), _FLOWS_AT_ONCE):
            some = slots[begin : begin + _FLOWS_AT_ONCE]
            flows |= self._ask(lambda some=some: self._of(some, offset_ns))  # type: ignore[misc]
        return KeptHistory(whole, flows, self._assembly.events.kept())

    def _of(self, slots: list[int], offset_ns: int) -> dict[str, StepsByLevel]:
        """On the pool's thread; clients that were removed meanwhile are left out."""
        pool = self._assembly.pool
        found = ((slot, pool.table.clients.get(slot)) for slot in slots)
        return {client.id: pool.timeline.kept(slot, offset_ns) for slot, client in found if client is not None}

    def _ask(self, work: Callable[[], T]) -> T:
        return self._assembly.pool.inbox.submit(work).result(_PATIENCE_S)
