"""A relay, seen from the program: its sockets bound, its process started, asked and replaced, its columns read."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from udprism.columns.types import Address
from udprism.errors import RelayError, RequestError, UdprismError
from udprism.link.link import Link
from udprism.link.rules import Rule
from udprism.relay.fronts import RECEIVE_BUFFER_BYTES
from udprism.relay.memory import DIRECTIONS, UP, Count, Memory, Snapshot, State
from udprism.relay.plan import Plan
from udprism.udp.sockets import address_of_row, bind, bind_server, dropped_by_kernel

log = logging.getLogger(__name__)

_READY_WITHIN_S = 20.0
_ANSWERS_WITHIN_S = 5.0
_LOOKED_AFTER_WITHIN_S = 1.0
HANGS_AFTER_S = 15.0
"""A process that has answered nothing for so long is replaced, as if it had died."""
_ENDS_WITHIN_S = 2.0
_RESTARTS_WITHIN_S = 60.0
MAX_RESTARTS = 5


class Relay:
    """Any thread; one at a time is served, the others wait."""

    def __init__(self, plan: Plan) -> None:
        """Bind and start. plan.listen's port may be 0. Raises: BindError, RelayError."""
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._own_links: dict[tuple[int, int], Link] = {}
        self._recordings: dict[str, tuple[int, list[int] | None]] = {}
        self._restarted_s: list[float] = []
        self._asked = 0
        self._silent_since_s: float | None = None
        self._missed_a_change = False
        self.restarts = 0
        self.description = ""
        """How the process receives: io_uring, or epoll and why."""
        self.plan = plan
        self.fronts: list[socket.socket] = []
        try:
            self._file, self._memory = Memory.create(plan.max_flows)
        except OSError as error:
            raise RelayError(f"no memory for the relay {plan.name}: {error.strerror}") from error
        try:
            self._start()
        except UdprismError:
            self.close()
            raise

    # -- what it carries

    @property
    def address(self) -> Address:
        """Where clients send to."""
        return self.plan.listen

    def settle(self) -> None:
        """Wait until everything forwarded so far is counted as well. Raises: RelayError."""
        self._ask({"do": "settle"})

    def read(self, within_s: float = 2.0) -> Snapshot:
        """One moment of its sums; after `close`, the last one. Raises: RelayError, if none can be had within so long.

        It closes; a datagram that reached the other side within the last millisecond may not be counted yet.
        """
        return self._memory.read(within_s)

    def records(self, row: int, direction: int) -> npt.NDArray[np.void]:
        """The last datagrams of one direction of a flow, oldest first. Raises: RelayError."""
        return self._memory.records(row, direction)

    @property
    def own_drops(self) -> int | None:
        """Datagrams that our own sockets' full buffers dropped before we could read them; their flows are unknown."""
        if self._process is None:
            return None
        drops = [dropped_by_kernel(sock) for sock in self.fronts]
        return None if None in drops else sum(drop for drop in drops if drop is not None)

    @property
    def turned_back(self) -> int:
        """Datagrams that its links would have delayed and had no room for."""
        return int(self._memory.counts[Count.HELD_OVERFLOW])

    # -- what is done to it

    def set_link(self, direction: int, link: Link, ordinal: int | None = None) -> int:
        """A link for all flows without one of their own, or for one flow. Returns how many flows it holds for.

        Raises: RelayError. The relay's own link then holds as soon as its process is replaced, which is soon.
        """
        with self._lock:
            if ordinal is None:
                self.plan = replace(self.plan, up=link) if direction == UP else replace(self.plan, down=link)
            told = self._change(
                {"do": "link", "direction": DIRECTIONS[direction], "link": link.to_body(), "flow": ordinal}
            )
            if ordinal is not None:
                self._own_links[ordinal, direction] = link
            return int(told)

    def clear_own_link(self, direction: int, ordinal: int) -> int:
        """Remove a flow's own link; the relay's link applies again. Raises: RelayError."""
        with self._lock:
            self._own_links.pop((ordinal, direction), None)
            return int(self._change({"do": "link", "direction": DIRECTIONS[direction], "link": None, "flow": ordinal}))

    def own_link(self, direction: int, ordinal: int) -> Link | None:
        """A flow's own link, if it has one."""
        return self._own_links.get((ordinal, direction))

    def set_rules(self, rules: tuple[Rule, ...]) -> None:
        """Other rules; their hits are counted from 0. Raises: RelayError, as `set_link`."""
        with self._lock:
            self.plan = replace(self.plan, rules=rules)
            self._change({"do": "rules", "rules": [rule.to_body() for rule in rules]})

    def set_idle(self, idle_s: float) -> None:
        """How long a flow may be idle. Raises: RelayError, as `set_link`."""
        with self._lock:
            self.plan = replace(self.plan, idle_s=idle_s)
            self._change({"do": "idle", "idle_s": idle_s})

    def rebind(self, ordinal: int | None = None) -> int:
        """Change the source ports towards the target, as a NAT does after it forgot a mapping. Returns how many.

        Raises: RelayError.
        """
        return int(self._ask({"do": "rebind", "flow": ordinal}))

    def reset(self) -> Snapshot:
        """End all flows and restart the counts: the next client is the first again. Returns the last sums before.

        Raises: RelayError.
        """
        with self._lock:
            self._own_links.clear()
            return Snapshot.of_the_ended(**self._ask({"do": "reset"}))

    def end_flows(self, ordinal: int | None = None) -> int:
        """End one flow, or all; returns how many. Raises: RelayError."""
        return int(self._ask({"do": "end", "flow": ordinal}))

    def record(self, recording_id: str, file: int, wanted: list[int] | None) -> None:
        """Show its datagrams to a recording. file: of a `SightQueue`, the relay's from now on.

        wanted: 2 × ordinal + direction of each flow that is recorded; None for all. Raises: RelayError.
        """
        with self._lock:
            self._recordings[recording_id] = file, wanted
            self._ask({"do": "record", "id": recording_id, "wanted": wanted}, files=[file])

    def stop_recording(self, recording_id: str) -> None:
        """Show it nothing any more. Raises: RelayError."""
        with self._lock:
            if recording_id in self._recordings:
                os.close(self._recordings.pop(recording_id)[0])
                self._ask({"do": "stop recording", "id": recording_id})

    # -- the process

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The id of its process, to measure it."""
        return None if self._process is None else self._process.pid

    def watch(self) -> None:
        """Replace a process that died or hangs, with its flows and their ports. Call about twice a second.

        Raises: RelayError, if that happened more often than five times in a minute.
        """
        with self._lock:
            if self._process is None:
                return
            self._forget_links_of_ended_flows()
            if self._process.poll() is None and not self._is_lost():
                return
            how = "hangs" if self._process.poll() is None else f"ended with {self._process.returncode}"
            log.warning("the relay %s %s; restarting its process", self.plan.name, how)
            now_s = time.monotonic()
            self._restarted_s = [then for then in self._restarted_s if then > now_s - _RESTARTS_WITHIN_S] + [now_s]
            self.restarts += 1
            self._process.kill()
            self._disconnect()
            if len(self._restarted_s) > MAX_RESTARTS:
                raise RelayError(f"the relay {self.plan.name} died {len(self._restarted_s)} times in a minute")
            self._start()
            for (ordinal, direction), link in list(self._own_links.items()):
                self.set_link(direction, link, ordinal)
            for recording_id, (file, wanted) in self._recordings.items():
                self._ask({"do": "record", "id": recording_id, "wanted": wanted}, files=[file])

    def _is_lost(self) -> bool:
        """Whether the process, although it is there, has to be replaced: it hangs, or missed a change that is kept."""
        try:
            self._ask({"do": "settle"}, _LOOKED_AFTER_WITHIN_S)
        except RelayError:
            since_s = self._silent_since_s
            return since_s is not None and time.monotonic() - since_s > HANGS_AFTER_S
        return self._missed_a_change

    def _forget_links_of_ended_flows(self) -> None:
        if self._own_links:
            flows = self._memory.flows
            there = set(flows["ordinal"][flows["state"] != State.FREE].tolist())
            self._own_links = {at: link for at, link in self._own_links.items() if at[0] in there}

    def _start(self) -> None:
        self._silent_since_s, self._missed_a_change = None, False
        try:
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise RelayError(f"the relay's process cannot be started: {error}") from error
        self._control = here
        here.settimeout(_READY_WITHIN_S)
        try:
            with there:
                command = [sys.executable, "-m", "udprism.relay.process"]
                self._process = subprocess.Popen(command, stdin=there.fileno(), stdout=subprocess.DEVNULL)
            self._receive()
            if not self.fronts:  # when the other end is there to read them
                self.fronts = _bind(self.plan.listen)
                host, port = self.fronts[0].getsockname()[:2]
                if self.plan.target in [sock.getsockname()[:2] for sock in self.fronts]:
                    raise RequestError(
                        "a relay to itself would send its datagrams in a circle for ever", field="target"
                    )
                self.plan = replace(self.plan, listen=(host, port))
            files = [self._file, *(sock.fileno() for sock in self.fronts)]
            socket.send_fds(here, [self.plan.to_json().encode()], files)
            self.description = str(self._receive()["ready"])
        except OSError as error:
            self._disconnect()
            raise RelayError(f"the relay's process cannot be started: {error}") from error
        except Exception:  # such as a port that is taken: the process never gets a plan, and ends
            self._disconnect()
            raise

    def _change(self, command: dict[str, Any]) -> Any:
        """As `_ask`, of what the plan says already: a process that misses it is replaced by one that knows."""
        try:
            return self._ask(command)
        except RelayError:
            self._missed_a_change = True
            raise

    def _ask(self, command: dict[str, Any], within_s: float = _ANSWERS_WITHIN_S, files: Sequence[int] = ()) -> Any:
        with self._lock:
            if self._control is None:
                raise RelayError(f"the relay {self.plan.name} is closed")
            self._asked += 1
            try:
                self._control.settimeout(within_s)
                socket.send_fds(self._control, [json.dumps({**command, "number": self._asked}).encode()], files)
                answer = self._receive()
                while answer["number"] != self._asked:  # of a question that nobody waits for any more
                    answer = self._receive()
            except OSError as error:
                self._silent_since_s = self._silent_since_s or time.monotonic()
                raise RelayError(f"the relay {self.plan.name} does not answer: {error}") from error
            self._silent_since_s = None
        if "refused" in answer:
            raise RequestError(answer["refused"])
        return answer["done"]

    def _receive(self) -> dict[str, Any]:
        assert self._control is not None
        record = self._control.recv(4096)
        if not record:
            raise ConnectionError("its process ended")
        answer: dict[str, Any] = json.loads(record)
        return answer

    def _disconnect(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def close(self) -> None:
        """End the process and close the sockets. Its sums can still be read."""
        with self._lock:
            if self._control is not None:
                with contextlib.suppress(RelayError):
                    self._ask({"do": "stop"}, _LOOKED_AFTER_WITHIN_S)
            self._disconnect()
            if self._memory.is_half_done:  # its process died in the middle of a batch
                self._memory.take_over()
            for sock in self.fronts:
                sock.close()
            for file, _ in self._recordings.values():
                os.close(file)
            self._recordings.clear()
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def rows_in_use(snapshot: Snapshot) -> list[int]:
    """The rows of the flows that there are, in the order in which they began."""
    rows = np.flatnonzero(snapshot.flows["state"] != State.FREE)
    ordered: list[int] = rows[np.argsort(snapshot.flows["ordinal"][rows])].tolist()
    return ordered


def client_address(flow: np.void) -> Address:
    """Of a row of `Snapshot.flows`."""
    row = flow["client"]
    return address_of_row(row, socket.AddressFamily(int(row[0])))


def _bind(listen: Address) -> list[socket.socket]:
    """`localhost` and `::` in both families, anything else as it is said."""
    host, port = listen
    if host in ("localhost", "::"):
        return bind_server("127.0.0.1" if host == "localhost" else host, port, RECEIVE_BUFFER_BYTES)
    return [bind(host, port, RECEIVE_BUFFER_BYTES)]
