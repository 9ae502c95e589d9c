"""`udprism send`: a test pattern in one format to a lamp or a program, without a page."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer

from udprism.cli.serve import end_on_signals
from udprism.columns.types import format_address

_FORMAT_HELP = "ddp, wled, artnet, e131, rtp or text."
_PATTERN_HELP = "random, solid, chase, rainbow, a colour's name or #rrggbb."
_LINK_HELP = "The link on the way: a profile's name, words such as loss=2%,delay=40,jitter=5, or JSON."
_TARGET_HELP = "A network to send to, beyond this machine's own."


def send(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help=_FORMAT_HELP)],
    to: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where the datagrams go.")],
    pattern: Annotated[str, typer.Option(help=_PATTERN_HELP)] = "rainbow",
    rate_hz: Annotated[float, typer.Option(help="Frames per second; a still picture is only refreshed.")] = 40.0,
    colours: Annotated[int, typer.Option(help="Pixels.")] = 170,
    universe: Annotated[int, typer.Option(help="The first universe.")] = 1,
    seconds: Annotated[float | None, typer.Option(min=0, help="Seconds to run; default: until interrupted.")] = None,
    link: Annotated[str | None, typer.Option(help=_LINK_HELP)] = None,
    seed: Annotated[int | None, typer.Option(help="The link's seed, if it does not name one.")] = None,
    allow_target: Annotated[list[str] | None, typer.Option(help=_TARGET_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The sums as one JSON object.")] = False,
) -> None:
    """Send a test pattern in one format, through a link. It ends with the format's goodbye, if there is one."""
    from udprism.link.words import read_link
    from udprism.node.bodies.senders import sender_body
    from udprism.node.sender_plan import SenderPlan
    from udprism.relay.plan import networks
    from udprism.udp.clock import SystemClock
    from udprism.udp.endpoints.sender import SenderEndpoint
    from udprism.udp.networks import Targets
    from udprism.udp.sending import Sending

    impairment = read_link(link or "perfect", "link", seed)
    asked = {"format": form, "target": to, "pattern": pattern, "rate_hz": rate_hz, "colours": colours}
    asked |= {"universe": universe, "link": impairment.to_body()}
    found = Targets(networks(allow_target or (), "allow-target"), []).resolve(to)
    plan = SenderPlan.asked(asked, found[0])
    ended = end_on_signals()
    clock = SystemClock()
    endpoint = SenderEndpoint("send", plan.show, plan.target, plan.link, clock)
    sending = Sending(clock, lambda error: ended.set())
    sending.loop.inbox.submit(lambda: sending.begin(endpoint)).result()
    if not as_json:
        print(f"{form} → {format_address(plan.target)}: {plan.pattern}; Ctrl-C ends it", flush=True)
    until_s = None if seconds is None else time.monotonic() + seconds
    ended.wait(None if until_s is None else max(0.0, until_s - time.monotonic()))
    sending.loop.stop()
    body = sender_body("send", plan, endpoint, None) if as_json else None
    if body is not None:
        print(json.dumps(body))
        return
    flows = endpoint.flows
    link_lost, refused = int(flows.unsent_link.sum()), int(flows.unsent_kernel.sum())
    print(
        f"{endpoint.frames:,} frames, {int(flows.offered.sum()):,} datagrams: {link_lost:,} lost by the link, "
        f"{refused:,} refused by the kernel" + (", no program listens at the target" if endpoint.is_refused else "")
    )
    sys.stdout.flush()
