"""The flows that a recording shows: of hosted clients, of sessions, and those that receivers hear or relays carry."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np

from udprism.capture.sightings import Point
from udprism.columns.types import NS_PER_S, Address
from udprism.errors import RelayError, RequestError
from udprism.node.assembly import Assembly
from udprism.node.receivers import Receivers
from udprism.node.recorder import Chosen, OnlyChosen, Recording
from udprism.node.relays import Relays
from udprism.node.replays import REPLAY
from udprism.node.senders import SENDER
from udprism.relay.memory import DIRECTIONS
from udprism.relay.relay import Relay
from udprism.udp.listening import FLOW
from udprism.udp.sight import Recorder, endpoint_of

_SESSION: Final = "s-"
GONE_AFTER_NS: Final = 10 * NS_PER_S
"""A recording ends if its flows have not been there for so long."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Flows by kind. clients, heard: ids. sessions: addresses. carried: 2 × ordinal + direction, by relay.

    names: of all of them, in the order in which they were asked for.
    """

    clients: tuple[str, ...]
    sessions: frozenset[bytes]
    heard: frozenset[str]
    carried: dict[str, list[int]]
    names: tuple[str, ...]
    session_ids: tuple[int, ...]


class RecordedFlows:
    """Shows one recording its flows. `look` on the recording's thread; the others by any."""

    def __init__(self, assembly: Assembly, relays: Relays, receivers: Receivers, wanted: Wanted | None) -> None:
        """wanted: None for all."""
        self.recorders: dict[Point, Recorder] = {}
        """Of the colour server's and the hosted clients' datagrams, by point."""
        self.heard: tuple[Recorder, frozenset[str] | None] | None = None
        """Of what receivers hear; None if it is none."""
        self._assembly, self._relays, self._receivers, self._wanted = assembly, relays, receivers, wanted
        self._chosen = None if wanted is None else Chosen(self._endpoints)
        self._attached: dict[str, Relay] = {}
        self._there_ns = assembly.clock.now_ns()

    def begin(self, recording: Recording) -> None:
        """Open what the program's own threads write to."""
        self.refresh()
        for point in Point:
            queue: Recorder = recording.open()[1]
            self.recorders[point] = queue if self._chosen is None else OnlyChosen(queue, self._chosen)
        if self._wanted is None or self._wanted.heard:
            self.heard = recording.open()[1], None if self._wanted is None else self._wanted.heard

    def refresh(self) -> None:
        """Where the chosen clients are now."""
        if self._chosen is not None:
            self._chosen.refresh(self._assembly.clock.unix_ns())

    def look(self, recording: Recording) -> None:
        """Attach relays that have begun since the last look."""
        for relay_id, relay in self._relays.running():
            flows = None if self._wanted is None else self._wanted.carried.get(relay_id, [])
            if flows == [] or self._attached.get(relay_id) is relay:
                continue
            self._attached[relay_id] = relay
            file, _ = recording.open()
            with suppress(RelayError):  # its process is being replaced: the next one is told
                relay.record(recording.plan.id, os.dup(file), flows)

    def are_gone(self, now_ns: int) -> bool:
        """Whether none of the chosen flows has been there for some seconds."""
        if self._wanted is None or self._is_there(self._wanted):
            self._there_ns = now_ns
        return now_ns - self._there_ns > GONE_AFTER_NS

    def _is_there(self, wanted: Wanted) -> bool:
        listening = self._receivers.listening
        heard = {} if listening is None else listening.flows.slot_of_id
        relays = dict(self._relays.running()) if wanted.carried else {}
        return (
            any(one in self._assembly.pool.table.slot_of_id for one in wanted.clients)
            or any(one in self._assembly.server.table.slot_of_id for one in wanted.session_ids)
            or any(one in heard for one in wanted.heard)
            or any(one in relays for one in wanted.carried)
        )

    def end(self, recording_id: str) -> None:
        """Detach the relays."""
        for relay in self._attached.values():
            with suppress(RelayError):
                relay.stop_recording(recording_id)

    def _endpoints(self) -> set[bytes]:
        """A client that opens another socket is another address."""
        assert self._wanted is not None
        table = self._assembly.pool.table
        found = (table.clients.get(table.slot_of_id.get(one, -1)) for one in self._wanted.clients)
        there = {endpoint_of(client.local).tobytes() for client in found if client is not None and client.local[0]}
        return there | self._wanted.sessions


def sort_out(flows: list[str], assembly: Assembly, relays: Relays, receivers: Receivers) -> Wanted:
    """Flows by their ids. Blocks for some milliseconds. Raises: RequestError (422) for one that is not there."""
    clients: list[str] = []
    sessions: set[bytes] = set()
    session_ids: list[int] = []
    heard: set[str] = set()
    carried: dict[str, list[int]] = {}
    running = dict(relays.running())
    known: dict[str, set[int]] = {}
    names = list(flows)
    for number, flow in enumerate(flows):
        field = f"flows.{number}"
        relay_id, ordinal, way = _parts(flow)
        if flow in assembly.pool.table.slot_of_id:
            clients.append(flow)
            client = assembly.pool.table.clients.get(assembly.pool.table.slot_of_id[flow])
            names[number] = flow if client is None else client.name
        elif relay_id in running and way is not None:
            if relay_id not in known:
                snapshot = running[relay_id].read().flows
                known[relay_id] = set(snapshot["ordinal"][np.flatnonzero(snapshot["state"])].tolist())
            if ordinal not in known[relay_id]:
                raise _missing(flow, field)
            carried.setdefault(relay_id, []).append(2 * ordinal + way)
            names[number] = f"{running[relay_id].plan.name} {ordinal} {DIRECTIONS[way]}"
        elif flow.startswith(FLOW):
            if receivers.listening is None or flow not in receivers.listening.flows.slot_of_id:
                raise _missing(flow, field)
            heard.add(flow)
            names[number] = receivers.listening.flows.flows[receivers.listening.flows.slot_of_id[flow]].name
        elif flow.startswith(_SESSION):
            sessions.add(_session_address(assembly, flow, field))
            session_ids.append(int(flow.removeprefix(_SESSION), 16))
        elif flow.startswith((SENDER, REPLAY)):
            words = "is recorded where it arrives: record a client, or a flow of a relay or of a receiver"
            raise RequestError(f"{flow} {words}", field=field)
        else:
            raise _missing(flow, field)
    return Wanted(tuple(clients), frozenset(sessions), frozenset(heard), carried, tuple(names), tuple(session_ids))


def _parts(flow: str) -> tuple[str, int, int | None]:
    """Of a relay's flow: the relay, the ordinal and the direction; None for ids of other kinds."""
    conversation, _, way = flow.rpartition("-")
    relay_id, _, ordinal = conversation.rpartition("-")
    if way not in DIRECTIONS or not ordinal.isdecimal():
        return "", 0, None
    return relay_id, int(ordinal), DIRECTIONS.index(way)


def _session_address(assembly: Assembly, flow: str, field: str) -> bytes:
    try:
        session = assembly.server.table.sessions[assembly.server.slot_of(flow)]
    except (RequestError, KeyError):
        raise _missing(flow, field) from None
    address: Address = session.address
    return endpoint_of(address).tobytes()


def _missing(flow: str, field: str) -> RequestError:
    return RequestError(f"no flow {flow!r}", field=field)
