"""`udprism client`: one client in a terminal, the whole of the wire in one small program."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from udprism.cli import output
from udprism.cli.line import Line
from udprism.columns.types import NEVER_NS, NS_PER_MS, NS_PER_S, Address, format_address, is_loopback
from udprism.errors import UdprismError, WireError
from udprism.ledger.fates import DUPLICATE, LATE, REORDERED
from udprism.serving.clients import Mode
from udprism.serving.commands import MAX_RESPONSE_BYTES, Connect, encode_disconnect
from udprism.serving.conversation import Conversation, Ended, ReceivedColour, Send
from udprism.settings import reachable_host, split_host_port
from udprism.udp.arrivals import PollReceiver
from udprism.udp.sockets import address_of_name
from udprism.wire import colours as palette
from udprism.wire.measured import MAX_DATAGRAM_BYTES, ByeReason

QUIZ_RATE_HZ = 0.2
"""Slow enough to type a word before the next colour leaves."""
_NEXT_ADDRESS_NS = NS_PER_S // 8
"""Time from one address that refuses to the next one of the same server."""
_MAX_BATCH = 64
_LONGEST_POLL_S = 3600.0
_GOODBYES = {
    ByeReason.SHUTDOWN: "it shuts down",
    ByeReason.LEASE_EXPIRED: "the lease has expired",
    ByeReason.OPERATOR: "an operator ended it",
}


def client(
    server: Annotated[
        str, typer.Argument(metavar="[HOST:PORT]", envvar="UDPRISM_UDP", help="The colour server.")
    ] = "127.0.0.1:12345",
    as_json: Annotated[
        bool, typer.Option("--json", envvar="UDPRISM_JSON", help="Print one JSON object per datagram.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", envvar="UDPRISM_PLAIN", help="Request the plain stream only.")
    ] = False,
    quiz: Annotated[
        bool, typer.Option("--quiz", envvar="UDPRISM_QUIZ", help="Ask you for each colour's name in Indonesian.")
    ] = False,
) -> None:
    """Ask a colour server for colours and print them, until Ctrl-C."""
    if as_json and quiz:
        raise typer.BadParameter("--json and --quiz do not go together")
    try:
        host, port = split_host_port(server)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="HOST:PORT") from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # The variable may be that of a server here: what it is bound to is no place to send to.
        with Terminal(
            _resolve(reachable_host(host), port), plain=plain, quiz=quiz, show=_as_json if as_json else _as_words
        ) as end:
            end.run()
    except BrokenPipeError:  # nobody reads any more: `| head` has enough, or the disk is full
        return


def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise UdprismError(f"cannot find {host}: {error.strerror or error}") from None
    return list(dict.fromkeys(address_of_name(name) for *_, name in found))


class Terminal:
    """Joins a Conversation to a socket, the clock, standard input and standard output. Main thread only."""

    def __init__(
        self, addresses: list[Address], *, plain: bool, quiz: bool, show: Callable[[ReceivedColour], str]
    ) -> None:
        """addresses: of the server, best first; they are asked in turn until one answers."""
        self._show = show
        request = Connect(rate_hz=QUIZ_RATE_HZ if quiz else None)
        mode = Mode.PLAIN if plain else Mode.AUTO
        self._talk = Conversation(mode, request, loopback=is_loopback(addresses[0][0]), draw=random.random)
        self._receiver = PollReceiver(MAX_DATAGRAM_BYTES, _MAX_BATCH, 0.0)
        self._line = Line(addresses, self._receiver)
        self._quiz = Quiz(self._receiver.wake) if quiz else None
        self._told = ""
        self._named = addresses[0]
        """The address from which a person takes the colours to come."""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()
        self._receiver.close()

    def run(self) -> None:
        """Runs until the server sends BYE, the quiz's input ends, or Ctrl-C; then prints a summary."""
        with contextlib.suppress(KeyboardInterrupt):
            if self._talk_until_bye():
                return
        self._send(encode_disconnect())
        _tell(_summary(self._talk.figures(time.monotonic_ns())))

    def _talk_until_bye(self) -> bool:
        """True if the server ended it, False if we did."""
        self._talk.addresses = self._line.addresses
        first = self._talk.start(time.monotonic_ns())
        if self._open():
            self._send(first)
        while self._quiz is None or not self._quiz.is_over:
            self._wait()
            if self._hear():
                return True
            if self._quiz is not None:
                for answer in self._quiz.take_answers():
                    self._send(answer)
            if time.monotonic_ns() >= self._talk.timer_ns:
                self._on_timer()
        return False

    def _wait(self) -> None:
        wait_ns = min(self._talk.timer_ns - time.monotonic_ns(), NEVER_NS)
        self._arrivals = self._receiver.poll(min(max(0.0, wait_ns / NS_PER_S), _LONGEST_POLL_S))

    def _hear(self) -> bool:
        """Take what has arrived; True if the server said BYE."""
        now_ns, arrivals = time.monotonic_ns(), self._arrivals
        for _, number in self._receiver.errors:
            self._note_failure(OSError(number, os.strerror(number)))
        for row, length, received_unix_ns in zip(
            arrivals.rows, arrivals.length.tolist(), arrivals.received_unix_ns.tolist(), strict=True
        ):
            try:
                event = self._talk.receive(row[:length].tobytes(), received_unix_ns, now_ns)
            except WireError:
                continue  # a stranger's datagram, or a server's that speaks otherwise: not ours to mend
            if isinstance(event, ReceivedColour):
                self._note_answer()
                self._print(event)
            elif isinstance(event, Send):
                self._send(event.data)
            elif isinstance(event, Ended):
                _tell(f"The server ended the session: {_GOODBYES[event.reason]}.")
                return True
        return False

    def _print(self, heard: ReceivedColour) -> None:
        if self._quiz is None:
            print(self._show(heard), flush=True)
        elif not self._quiz.is_waiting and (name := palette.nearest_name(heard.rgb)) in palette.INDONESIAN:
            print(self._show(heard), flush=True)
            self._quiz.ask(name)
        if output.lost() is not None:
            raise BrokenPipeError

    def _note_answer(self) -> None:
        self._told = ""
        self._line.answer()
        if self._line.address != self._named:
            self._named = self._line.address
            _tell(f"Colours now come from {format_address(self._named)}.")

    def _on_timer(self) -> None:
        if not self._talk.is_live:
            self._aim()
        data = self._talk.on_timer(time.monotonic_ns(), time.time_ns())
        if self._talk.is_silent:
            self._tell_once(
                "silent", f"Nothing comes from {format_address(self._line.address)} any more; reconnecting."
            )
        if data is not None and ((self._line.is_open and not self._talk.wants_new_socket) or self._open()):
            self._send(data)

    def _aim(self) -> None:
        """At the address whose turn it is, from the one that this machine has now."""
        if self._line.turn(self._talk.tries):
            self._line.close()
            self._talk.readdressed(loopback=is_loopback(self._line.address[0]))
        elif self._line.has_moved():
            self._talk.moved()
        self._talk.addresses = self._line.addresses

    def _open(self) -> bool:
        """Continue through a new socket, as the conversation wants it. Returns False if none can be opened now."""
        try:
            self._line.open(any_port=self._talk.any_port)
        except OSError as error:
            self._note_failure(error)
            return False
        return True

    def _send(self, data: bytes) -> None:
        try:
            self._line.send(data)
        except OSError as error:
            self._note_failure(error)

    def _note_failure(self, error: OSError) -> None:
        """A datagram did not arrive, or could not leave. Each problem is printed once."""
        now_ns, server = time.monotonic_ns(), format_address(self._line.address)
        has_another = self._line.refuse()
        if isinstance(error, ConnectionRefusedError):
            trouble, text = f"refused by {server}", f"No program listens at {server} yet; trying again."
            self._talk.refused(now_ns)
        else:
            trouble = error.strerror or str(error)
            text = f"Cannot reach {server} from here ({trouble}); trying again."
            self._talk.failed(trouble, now_ns)
        if has_another:
            self._talk.hurry(now_ns + _NEXT_ADDRESS_NS)
        else:
            self._tell_once(trouble, text)

    def _tell_once(self, trouble: str, text: str) -> None:
        if trouble != self._told:
            self._told = trouble
            _tell(text)


class Quiz:
    """Asks for the Indonesian name of a colour; lines of standard input are the answers.

    The lines are read on a separate thread, so that reports continue while the player thinks.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.is_over = False
        self._wake = wake
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._asked: str | None = None
        threading.Thread(target=self._read, name="udprism-quiz", daemon=True).start()

    @property
    def is_waiting(self) -> bool:
        """Whether a question is open."""
        return self._asked is not None

    def ask(self, name: str) -> None:
        """Ask for this colour."""
        self._asked = name
        print(f"What is {name} in Indonesian? ", end="", flush=True)
        self._wake()  # the answer may have been typed already

    def take_answers(self) -> list[bytes]:
        """The response to send if the open question was answered; scores it and prints the result."""
        if self._asked is None:
            return []
        try:
            line = self._lines.get_nowait()
        except queue.Empty:
            return []
        if not line:
            self.is_over = True
            print()
            return []
        answer, right = " ".join(line.split()), palette.INDONESIAN[self._asked]
        self._asked = None
        if answer.lower() == right:
            print("Score: 100", flush=True)
        else:
            print(f"Score: 0 ({right})", flush=True)
        return [answer.encode()[:MAX_RESPONSE_BYTES].decode(errors="ignore").encode()] if answer else []

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # a terminal that has gone
            for line in sys.stdin:
                self._lines.put(line)
                self._wake()
        self._lines.put("")
        self._wake()


def _as_words(heard: ReceivedColour) -> str:
    return f"Received colour: {palette.text_of(heard.rgb)}"


def _as_json(heard: ReceivedColour) -> str:
    flags = heard.flags
    return json.dumps(
        {
            "sequence": heard.sequence,
            "fate": "late" if flags is not None and flags & LATE else "received",
            "duplicate": None if flags is None else bool(flags & DUPLICATE),
            "reordered": None if flags is None else bool(flags & REORDERED),
            "colour": palette.nearest_name(heard.rgb),
            "rgb": palette.hex_of(heard.rgb),
            "sent_at_ns": heard.sent_at_unix_ns,
            "received_at_ns": heard.received_unix_ns,
            "delay_ms": None if heard.delay_ns is None else heard.delay_ns / NS_PER_MS,
        }
    )


def _summary(figures: dict[str, Any]) -> str:
    """A summary for people. What cannot be known is called unknown or left out."""
    received, plain, lost = figures["received"], figures["plain"], figures["lost"]
    words = [f"{received} received"]
    if lost is None:
        words += ["a plain stream has no sequence numbers, so its losses are unknown"] if plain else []
    elif figures["unheard_s"] and not lost:
        words.append("loss unknown")
    else:
        words.append(f"{'at least ' if figures['unheard_s'] else ''}{lost} lost")
    if lost is not None:
        words += [f"{figures[name]} {name}" for name in ("late", "reordered")]
        words.append(f"{figures['duplicates']} duplicates")
        words.append(f"jitter {figures['jitter_ms']:.3f} ms")
        words += [f"{plain} of them on a plain stream, whose losses are unknown"] if plain else []
    if figures["rtt_ms"] is not None:
        words.append(f"round trip {figures['rtt_ms']:.3f} ms")
    if figures["unheard_s"]:
        words.append(f"nothing came for {figures['unheard_s']:.0f} s: what was sent in that time is unknown")
    return (", " if lost is not None else "; ").join(words)


def _tell(text: str) -> None:
    """Print a line for people, beside the colours."""
    print(text, file=sys.stderr, flush=True)
