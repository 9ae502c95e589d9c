"""`udprism listen`: what other programs send in one format, in the terminal, without a page."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from udprism.cli.serve import end_on_signals
from udprism.columns.types import format_address

if TYPE_CHECKING:
    from udprism.udp.listening import Listening

_LINE_EVERY_S = 1.0
_MOST_LINES = 20
_FORMAT_HELP = "ddp, wled, artnet, e131, rtp, text or opaque."
_LISTEN_HELP = "HOST:PORT; default: the format's usual port on 127.0.0.1."
_INTERFACE_HELP = "For e131: hear multicast on this interface, such as eth0."
_CLOCK_HELP = "For rtp: ticks per second of payload types without a fixed clock, such as 90000; their jitter needs it."
_UNIVERSE_HELP = "With --interface: a universe to hear, again for each; default: 1."


def listen(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help=_FORMAT_HELP)],
    where: Annotated[str | None, typer.Argument(metavar="[HOST:PORT]", help=_LISTEN_HELP, show_default=False)] = None,
    listen_on: Annotated[str | None, typer.Option("--listen", help="The same, as an option.")] = None,
    interface: Annotated[str | None, typer.Option(help=_INTERFACE_HELP, show_default=False)] = None,
    universe: Annotated[list[int] | None, typer.Option(help=_UNIVERSE_HELP, show_default=False)] = None,
    clock_hz: Annotated[int | None, typer.Option(help=_CLOCK_HELP, show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per second with all flows.")] = False,
) -> None:
    """Show what other programs send in one format.

    For each sender: its frames, pauses and losses, and what it does wrong.
    """
    from udprism.node.receiver_plan import Entry, ReceiverPlan
    from udprism.settings import Settings
    from udprism.udp.clock import SystemClock
    from udprism.udp.listening import Listening
    from udprism.udp.sockets import bind

    plan = ReceiverPlan.asked(
        None, form, where or listen_on, interface=interface, universes=universe, clock_hz=clock_hz
    )
    settings = Settings(ephemeral=True)
    sock = bind(plan.host, plan.port, settings.receive_buffer_bytes)
    groups = plan.groups(sock.getsockname()[1], settings.receive_buffer_bytes)
    ended = end_on_signals()
    listening = Listening(settings, SystemClock(), lambda error: ended.set())
    endpoint = listening.endpoint("listen", plan.form, sock, groups)
    listening.loop.inbox.submit(lambda: listening.open(endpoint)).result()
    try:
        if as_json:
            print(json.dumps({"format": form, "listen": format_address(endpoint.address)}), flush=True)
        else:
            print(f"{form} on {format_address(endpoint.address)}; Ctrl-C ends it", flush=True)
        _show(listening, Entry("listen", plan, endpoint), ended, as_json)
    finally:
        listening.loop.stop()


def _show(listening: Listening, entry: Any, ended: threading.Event, as_json: bool) -> None:
    """Print what is received, once per second and once more when a signal arrives."""
    before = -1
    while True:
        over = ended.wait(_LINE_EVERY_S)
        bodies, receiver = listening.loop.inbox.submit(lambda: _read(listening, entry)).result()
        if as_json:
            print(json.dumps({"receiver": receiver, "flows": bodies}), flush=True)
        elif receiver["datagrams"] != before:
            for body in bodies[:_MOST_LINES]:
                print(_line(body))
            if len(bodies) > _MOST_LINES:
                print(f"… and {len(bodies) - _MOST_LINES} more flows")
            if receiver["drops"]:
                print("dropped: " + ", ".join(f"{count:,} {reason}" for reason, count in receiver["drops"].items()))
            sys.stdout.flush()
            before = receiver["datagrams"]
        if over:
            return


def _read(listening: Listening, entry: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from udprism.node.bodies.receivers import flow_body, receiver_body
    from udprism.udp.clock import SystemClock

    flows, now_ns = listening.flows, SystemClock().now_ns()
    return [flow_body(flows, slot, now_ns) for slot in flows.flows], receiver_body(entry, listening)


def _line(body: dict[str, Any]) -> str:
    frames, ledger, colour = body["frames"], body["ledger"], body["last_colour"]
    words = [
        f"{body['name']}: {body['state']}",
        f"{frames['rate_hz']:.1f} frames/s",
        f"{ledger['received']:,} received",
    ]
    if ledger["lost"] is not None:
        words.append(f"{ledger['lost']:,} lost")
    if frames["pause_ms"] is not None:
        words.append(f"pauses {frames['pause_ms']['shortest']:.1f} to {frames['pause_ms']['longest']:.1f} ms")
    if colour is not None:
        words.append(f"{colour['name']} {colour['rgb']}")
    return ", ".join(words) + "".join(f"\n    {note}" for note in body["notes"])
