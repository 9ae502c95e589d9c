"""What the colour server does with single datagrams: serves or refuses who asks, and ends sessions."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Mapping

import numpy as np

from udprism.columns.types import Address, Clock, I32Column
from udprism.errors import WireError
from udprism.link.book import LinkBook
from udprism.link.link import client_key
from udprism.serving import commands
from udprism.serving.admission import Admission, Refuse, Retry
from udprism.serving.sessions import ServiceTerms, SessionTable
from udprism.udp.command_sockets import CommandSockets, Requester
from udprism.udp.outlet import Outlet
from udprism.udp.sockets import header_bytes, sockaddr_row
from udprism.udp.threads_engine import ThreadsEngine
from udprism.wire import measured as wire
from udprism.wire.measured import ByeReason

MAX_READS_A_TURN = 512
"""Datagrams read from one socket before the next tick gets its turn."""


class CommandHandler:
    """Begins sessions, takes responses and reports, and ends sessions. Server thread only.

    drops: datagrams that were refused, by reason. commands: how many were understood. Any thread may read both.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        table: SessionTable,
        admission: Admission,
        outlet: Outlet,
        links: LinkBook,
        clock: Clock,
        *,
        owner_of: Mapping[Address, str],
        engine: ThreadsEngine | None,
    ) -> None:
        """owner_of: whose links hold for an address; written on other threads."""
        self.drops: Counter[str] = Counter()
        self.commands = 0
        self._sockets = sockets
        self._command_sockets = CommandSockets(sockets, self.strike)
        self._table, self._admission = table, admission
        self._outlet, self._links = outlet, links
        self._clock = clock
        self._owner_of = owner_of
        self._engine = engine

    def read(self, index: int) -> None:
        """Handle what waits in the socket of this index, MAX_READS_A_TURN datagrams at most."""
        for data, requester in self._command_sockets.receive(index, MAX_READS_A_TURN):
            try:
                self._receive(data, requester)
            except WireError as error:
                self.drops[error.reason] += 1
                if error.reason in commands.SERVER_ONLY_REASONS:
                    self._suspect(requester.address)

    def _receive(self, data: bytes, requester: Requester) -> None:
        now_ns = self._clock.now_ns()
        slot = self._table.slot_of_address.get(requester.address)
        if wire.is_binary(data):
            self._receive_report(data, slot, requester, now_ns)
            return
        command = commands.parse_command(data)
        self.commands += 1
        if isinstance(command, commands.Connect):
            self._connect(command, len(data), requester, now_ns)
        elif slot is None:
            raise WireError("no-session")
        elif isinstance(command, commands.Disconnect):
            self.forget(slot)
        else:
            self._table.respond(slot, command.text, now_ns, self._clock.unix_ns())
            self._table.heard(slot, now_ns)

    def _connect(self, command: commands.Connect, length: int, requester: Requester, now_ns: int) -> None:
        table, address, index = self._table, requester.address, requester.socket_index
        unix_ns = self._clock.unix_ns()
        known = table.slot_of_address.get(address)
        if known is None:
            terms = self._terms_for(command, length, requester, now_ns, unix_ns)
            if terms is None:
                return
        else:
            terms = table.sessions[known].terms
            if table.is_measured(known) != command.measured:
                self.forget(known)  # a new session takes its place: nothing that a link holds may leave as that one's
        row = sockaddr_row(address, socket.AddressFamily(self._sockets[index].family))
        served = table.connect(address, row, index, command, terms, now_ns, unix_ns)
        if served is None:
            raise WireError("table-full")
        slot, started = served
        if requester.source:
            table.source[slot, : len(requester.source)] = np.frombuffer(requester.source, np.uint8)
        if started:
            self._begin_link(slot, index)
        else:
            self._links.owner_is(slot, self._owner_of.get(address))
        if self._engine is not None:
            self._engine.serve(slot, address, requester.source)

    def _begin_link(self, slot: int, index: int) -> None:
        session = self._table.sessions[slot]
        key = client_key(session.name or f"{session.address[0]}:{session.address[1]}")
        payload_at = wire.HEADER_BYTES if session.encoding.measured else 0
        owner = self._owner_of.get(session.address)
        self._links.begin(slot, owner, key, payload_at, header_bytes(self._sockets[index].family))

    def _terms_for(
        self, command: commands.Connect, length: int, requester: Requester, now_ns: int, unix_ns: int
    ) -> ServiceTerms | None:
        """The terms on which a new address is served; None if it must return a token first."""
        table, address = self._table, requester.address
        decision = self._admission.decide(
            address, command, length, now_ns, unix_ns, table.sessions_of(address[0]), table.remote
        )
        if isinstance(decision, Refuse):
            raise WireError(decision.reason)
        if isinstance(decision, Retry):
            self._reply(requester, decision.payload)
            return None
        return ServiceTerms(decision.source_class, decision.lease_ns, decision.max_rate_hz)

    def _receive_report(self, data: bytes, slot: int | None, requester: Requester, now_ns: int) -> None:
        report = wire.decode_report(data)
        if slot is None or report.session_id != int(self._table.session_id[slot]):
            raise WireError("unknown-session")
        session = self._table.sessions[slot]
        session.report = report
        session.reported_ns = now_ns
        self._table.heard(slot, now_ns)
        self._reply(requester, wire.acknowledge(data))

    def _reply(self, requester: Requester, data: bytes) -> None:
        if not self._command_sockets.reply(requester, data):
            self.drops["answer-not-sent"] += 1

    def strike(self, address: Address) -> None:
        """The kernel reports this address as unreachable. After several strikes its session ends."""
        slot = self._table.slot_of_address.get(address)
        if slot is not None and self._table.strike(slot):
            self.forget(slot)

    def _suspect(self, address: Address) -> None:
        """Only a server says such things: two servers that a forged `connect` joined must fall silent."""
        slot = self._table.slot_of_address.get(address)
        if slot is not None:
            session = self._table.sessions[slot]
            session.server_only_in_a_row += 1
            if session.server_only_in_a_row >= commands.MAX_SERVER_ONLY_IN_A_ROW:
                self.forget(slot)

    def say_bye(self, slots: I32Column, reason: ByeReason) -> None:
        """Send BYE to those of these sessions whose streams are measured."""
        for slot in slots.tolist():
            session = self._table.sessions.get(slot)  # an error that one BYE meets may end another session
            if session is not None and session.encoding.measured:
                bye = wire.Bye(int(self._table.session_id[slot]), 0, self._clock.unix_ns(), reason)
                source = self._table.source[slot].tobytes()
                self._reply(
                    Requester(session.address, int(self._table.socket_index[slot]), source), wire.encode_bye(bye)
                )

    def forget(self, slot: int) -> None:
        """End a session, if there is one in this slot."""
        if slot not in self._table.sessions:
            return
        if self._engine is not None:
            self._engine.end(slot)
        self._outlet.forget(slot)
        self._table.recent.remember(self._table, slot, self._links.is_owned(slot))
        self._links.end(slot)
        self._table.end(slot)
