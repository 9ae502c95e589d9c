"""One recording, as the program has it: queues of sightings, and the process that writes what comes through them."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from udprism.capture.sightings import Point, Seen
from udprism.columns.types import NS_PER_S, U16Column, U64Column
from udprism.node.recording_writer import FileFormat, RecordingPlan
from udprism.udp.control import Control
from udprism.udp.sight import Recorder
from udprism.udp.sight_queue import SightQueue

__all__ = ["Chosen", "FileFormat", "OnlyChosen", "Recording", "RecordingPlan"]

log = logging.getLogger(__name__)

_EVERY_S: Final = 0.1
_LEAVES_BEHIND_NS: Final = 10 * NS_PER_S
"""So long what a client left behind counts as its address: its last datagrams still wait."""
_ENDPOINT: Final = np.dtype("S18")  # of one width, so that trailing zeros tell nothing apart wrongly


class Recording:
    """Datagrams reach it through queues, which any process may hold. Its process writes them; nothing waits for it."""

    def __init__(
        self,
        plan: RecordingPlan,
        folder: Path,
        unix_ns: Callable[[], int],
        hold_ns: Callable[[], int],
        turned: Callable[[Recording], None] = lambda recording: None,
        ended: Callable[[BaseException | None], None] = lambda bug: None,
    ) -> None:
        """hold_ns: for how long to wait for a datagram's fate. turned: called before each turn, ten times per second.

        ended: called when it ends, with the bug that it met or None. Both on the recording's thread. Blocks until the
        first file is open. Raises: OSError if it cannot be, or if there is no process.
        """
        self.plan = plan
        self.began_unix_ns = unix_ns()
        self.ended_unix_ns: int | None = None
        self.fault: str | None = None
        self.reason: str | None = None
        """Why it ended by itself, if that is no fault."""
        self.recorded = dict.fromkeys(Point, 0)
        """Datagrams that were written, by point."""
        self._left_out = dict.fromkeys(Point, 0)
        self._turned_away = dict.fromkeys(Point, 0)
        self._not_written: dict[Point, int] | None = None
        """What its end found in the queues and in the process, in place of what was turned away."""
        self._folder, self._files = folder, list[str]()
        self._unix_ns, self._hold_ns, self._turned, self._ended = unix_ns, hold_ns, turned, ended
        self._queues: list[SightQueue] = []
        self._new: list[int] = []
        """Descriptors of queues that the process does not have yet."""
        self._opening = threading.Lock()
        here, there = socket.socketpair()
        with there:
            command = [sys.executable, "-m", "udprism.node.recording_process"]
            self._process = subprocess.Popen(command, stdin=there.fileno(), stdout=subprocess.DEVNULL)
        self._control = Control(here)
        self._begin()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="udprism-recording", daemon=True)
        self._thread.start()

    def _begin(self) -> None:
        try:
            self._control.say({"plan": self.plan.to_json(), "folder": str(self._folder)})
            heard = self._control.hear()
        except OSError:
            heard = None
        said = {"refused": "its process does not start"} if heard is None else heard.body
        if "refused" in said:
            self._control.close()
            self._process.wait()
            raise OSError(said["refused"])
        self._take(said)

    # -- from any thread

    def open(self) -> tuple[int, SightQueue]:
        """A queue for one producer, and a descriptor of it, which the recording closes within a turn.

        One that is opened when the recording has ended takes nothing.
        """
        file, queue = SightQueue.create()
        with self._opening:
            self._queues.append(queue)
            self._new.append(file)
            if self._ending.is_set():
                queue.close()
        return file, queue

    @property
    def missed(self) -> dict[Point, int]:
        """Datagrams that were not written: the process or the disk could not keep up, or it ended before."""
        if self._not_written is not None:
            return self._not_written
        queues = list(self._queues)
        return {point: self._turned_away[point] + sum(one.turned_away[point] for one in queues) for point in Point}

    @property
    def files(self) -> list[Path]:
        """Oldest first."""
        return [self._folder / name for name in self._files]

    @property
    def pid(self) -> int:
        """The process that writes."""
        return self._process.pid

    @property
    def size_bytes(self) -> int:
        """Of the files that there are."""
        total = 0
        for path in self.files:
            try:
                total += path.stat().st_size
            except OSError:
                continue  # somebody took it away
        return total

    @property
    def running(self) -> bool:
        """Whether it still records."""
        return self.ended_unix_ns is None and self.fault is None

    def end_soon(self, reason: str) -> None:
        """End it, and do not wait."""
        self.reason = reason
        self._ending.set()

    def end(self) -> None:
        """Write what waits, and close the file. Blocks for that long."""
        self._ending.set()
        self._thread.join()

    # -- the recording's thread

    def _run(self) -> None:
        bug: BaseException | None = None
        try:
            ending = False
            while not ending and self.fault is None:
                ending = self._ending.wait(_EVERY_S)
                self._turned(self)
                if not self._turn():
                    break
            self._close_queues()
            self._control.finish()
            while (heard := self._control.hear()) is not None:
                self._take(heard.body)
        except Exception as error:
            log.exception("a bug in a recording")
            bug = error
        finally:
            self._finish(bug)

    def _turn(self) -> bool:
        with self._opening:
            files, self._new = self._new, []
        with suppress(OSError):  # its process has ended, and what it said last can be heard
            self._control.say({"now_ns": self._unix_ns(), "hold_ns": self._hold_ns()}, files)
        for file in files:
            os.close(file)
        heard = self._control.hear()
        if heard is not None:
            self._take(heard.body)
        return heard is not None

    def _take(self, said: dict[str, Any]) -> None:
        self._files = said["files"]
        self.recorded = dict(zip(Point, said["recorded"], strict=True))
        self._left_out = dict(zip(Point, said["left_out"], strict=True))
        self._turned_away = dict(zip(Point, said["turned_away"], strict=True))
        self.fault = said["fault"]

    def _close_queues(self) -> None:
        with self._opening:
            self._ending.set()
            for queue in self._queues:
                queue.close()

    def _finish(self, bug: BaseException | None) -> None:
        self._close_queues()
        self._control.close()
        code = self._process.wait()
        if bug is None and code > 0:
            bug = RuntimeError(f"the process of the recording {self.plan.id} ended with {code}")
        if bug is not None:
            self.fault = "a bug; the log says more"
        elif code:
            self.fault = f"its process was ended by signal {-code}"
        # What was taken and not written was missed.
        self._not_written = {
            point: sum(queue.offered[point] + queue.turned_away[point] for queue in self._queues)
            - self.recorded[point]
            - self._left_out[point]
            for point in Point
        }
        with self._opening:
            self._queues.clear()
            for file in self._new:
                os.close(file)
            self._new.clear()
        self.ended_unix_ns = self._unix_ns()
        self._ended(bug)


class Chosen:
    """Which sightings are of the clients that are recorded. `refresh` by one thread, the others by any."""

    def __init__(self, wanted: Callable[[], set[bytes]]) -> None:
        """wanted: the clients' endpoints now, 18 bytes each."""
        self._wanted = wanted
        self._until_ns: dict[bytes, int] = {}
        self._sorted = np.zeros(0, _ENDPOINT)

    def refresh(self, now_ns: int) -> None:
        """Where they are now. What one left behind counts for some seconds more: its last datagrams still wait."""
        for one in self._wanted():
            self._until_ns[one] = now_ns + _LEAVES_BEHIND_NS
        self._until_ns = {one: until_ns for one, until_ns in self._until_ns.items() if until_ns > now_ns}
        self._sorted = np.array(sorted(self._until_ns), _ENDPOINT)

    def of(self, seen: Seen) -> Seen:
        """Theirs."""
        chosen = self._sorted
        if not len(chosen):
            return seen.part(np.zeros(len(seen), np.bool_))
        # At both points the client is the target.
        client = np.concatenate((seen.addresses[:, 16:32], seen.addresses[:, 34:36]), axis=1).view(_ENDPOINT)[:, 0]
        at = np.minimum(np.searchsorted(chosen, client), len(chosen) - 1)
        return seen.part(chosen[at] == client)


class OnlyChosen:
    """A `sight.Recorder` that passes on the sightings of chosen clients."""

    def __init__(self, recorder: Recorder, chosen: Chosen) -> None:
        self._recorder, self._chosen = recorder, chosen

    def see(self, point: Point, seen: Seen) -> None:
        """Theirs."""
        self._recorder.see(point, self._chosen.of(seen))

    def note(self, key: U64Column, note: U16Column) -> None:
        """Everybody's: whose they are is not known here."""
        self._recorder.note(key, note)
