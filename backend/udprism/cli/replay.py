"""`udprism replay FILE --to HOST:PORT`: a capture's datagrams again, with their original timing, through a link."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from udprism.cli.serve import end_on_signals
from udprism.columns.types import format_address
from udprism.errors import CaptureError, RequestError

if TYPE_CHECKING:
    from udprism.udp.replay import Playlist, Replay

EXIT_BROKEN = 1
_LINK_HELP = "a profile's name, words such as loss=2%,delay=40,jitter=5, or JSON"
_FILTER_HELP = "Which datagrams: from=HOST[:PORT], to=HOST[:PORT], port=PORT, joined by commas."
_TARGET_HELP = "A network to send to, beyond this machine's own."


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A pcap or pcapng file.")],
    to: Annotated[str, typer.Option(help="Where the datagrams go, HOST:PORT.")],
    speed: Annotated[float, typer.Option(min=0.001, max=1000.0, help="How many times faster than the original.")] = 1.0,
    loop: Annotated[int, typer.Option(min=0, help="How many times to play the file; 0: until interrupted.")] = 1,
    words: Annotated[str, typer.Option("--filter", help=_FILTER_HELP)] = "",
    interface: Annotated[str | None, typer.Option(help="Number or name; default: the first datagram's.")] = None,
    link: Annotated[str | None, typer.Option(help=f"The link on the way: {_LINK_HELP}.")] = None,
    seed: Annotated[int | None, typer.Option(help="The link's seed, if it does not name one.")] = None,
    allow_target: Annotated[list[str] | None, typer.Option(help=_TARGET_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The sums as one JSON object.")] = False,
) -> None:
    """Send the UDP payloads of a capture file again.

    They keep their original timing and go through a link.
    """
    from udprism.capture.selection import Selection
    from udprism.link.words import read_link
    from udprism.relay.plan import networks
    from udprism.udp.clock import SystemClock
    from udprism.udp.mapped_file import mapped
    from udprism.udp.networks import Targets
    from udprism.udp.replay import Playlist, Replay

    target = Targets(networks(allow_target or (), "allow-target"), []).resolve(to)[0]
    impairment = read_link(link or "perfect", "link", seed)
    chosen: int | str | None = int(interface) if interface is not None and interface.isdecimal() else interface
    ended = end_on_signals()
    with mapped(file) as capture:
        playlist = Playlist([capture], Selection(words), chosen, speed, loop or None)
        one = Replay(target, impairment, SystemClock())
        try:
            if not as_json:
                print(f"{file} → {format_address(target)}; Ctrl-C ends it", flush=True)
            fault = _run(one, playlist, ended)
            one.end()
        finally:
            one.close()
    if fault is not None and not one.offered:
        raise RequestError(f"{file}: {fault}", field="file")
    _say(one, playlist, fault, as_json)
    if not one.offered and not ended.is_set():
        print(f"udprism: {playlist.nothing}", file=sys.stderr)
    if fault is not None or (not one.offered and not ended.is_set()):
        raise typer.Exit(EXIT_BROKEN)


def _run(one: Replay, playlist: Playlist, ended: threading.Event) -> CaptureError | None:
    try:
        one.run(playlist, ended)
    except CaptureError as error:
        return error
    return None


def _say(one: Replay, playlist: Playlist, fault: CaptureError | None, as_json: bool) -> None:
    body = one.body() | {"skipped": dict(sorted(playlist.skipped.items()))}
    if as_json:
        broken = None if fault is None else {"offset": fault.offset, "reason": fault.reason, "detail": str(fault)}
        print(json.dumps(body | {"fault": broken}))
        return
    lost, late = one.lost_by_cause, one.late_ms
    print(
        f"{one.offered:,} datagrams: {one.sent:,} sent, {lost['link']:,} lost by the link, "
        f"{lost['sender_kernel']:,} refused by the kernel"
    )
    if late["p99"] is not None:
        print(f"late by {late['p50']:.3f} ms at the median, {late['p99']:.3f} ms at p99")
    if playlist.skipped:
        print("skipped: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(playlist.skipped.items())))
    if fault is not None:
        print(f"broken {fault}: nothing after that was sent", file=sys.stderr)
