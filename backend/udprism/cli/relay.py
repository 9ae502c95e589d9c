"""`udprism relay`: any UDP program's datagrams through links, in both directions, without a page."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from udprism.cli.serve import end_on_signals
from udprism.columns.types import format_address
from udprism.errors import RequestError

if TYPE_CHECKING:
    from udprism.relay.plan import Plan
    from udprism.relay.relay import Relay

_LINE_EVERY_S = 1.0
_RULE_HELP = 'A rule for chosen datagrams, JSON: {"action": "drop", "direction": "up", "nth": 17}'
_FROM_HELP = "A network beyond loopback to serve; default: this machine's own."
_TARGET_HELP = "A network to send to, beyond this machine's own."
_LINK_HELP = "a profile's name, words such as loss=2%,delay=40,jitter=5, or JSON"


def relay(
    listen: Annotated[str, typer.Option(help="Where clients send to, HOST:PORT; port 0 for any.")],
    to: Annotated[str, typer.Option(help="Where their datagrams go, HOST:PORT.")],
    up: Annotated[str | None, typer.Option(help=f"The link to the target: {_LINK_HELP}.")] = None,
    down: Annotated[str | None, typer.Option(help=f"The link from the target: {_LINK_HELP}.")] = None,
    rule: Annotated[list[str] | None, typer.Option(help=_RULE_HELP)] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of links that do not name one.")] = None,
    name: Annotated[str, typer.Option(help="Selects the random numbers, together with the seed.")] = "relay",
    idle_s: Annotated[float, typer.Option(help="A flow ends this many seconds after its last datagram.")] = 120.0,
    max_flows: Annotated[
        int, typer.Option(help="Maximum number of clients; a new one replaces the longest idle.")
    ] = 1000,
    any_port: Annotated[
        bool, typer.Option("--any-port", help="Accept answers from any port of the target (TFTP).")
    ] = False,
    keep_ttl: Annotated[
        bool, typer.Option("--keep-ttl", help="Send datagrams with the TTL that they arrived with.")
    ] = False,
    dont_fragment: Annotated[
        bool, typer.Option("--dont-fragment", help="Refuse datagrams that would need fragments.")
    ] = False,
    no_payload: Annotated[bool, typer.Option("--no-payload", help="Record no payload bytes.")] = False,
    allow_from: Annotated[list[str] | None, typer.Option(help=_FROM_HELP)] = None,
    allow_target: Annotated[list[str] | None, typer.Option(help=_TARGET_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per second, then the sums.")] = False,
) -> None:
    """Forward any program's datagrams through links. Each direction has its own link, and its sums close."""
    from udprism.link.rules import Rule
    from udprism.link.words import read_link
    from udprism.relay.plan import Plan, ends, networks
    from udprism.udp.networks import Targets

    found = Targets(networks(allow_target or (), "allow-target"), []).resolve(to)
    listening, target = ends(listen, found)
    plan = Plan(
        name=name,
        listen=listening,
        target=target,
        up=read_link(up or "perfect", "up", seed),
        down=read_link(down or "perfect", "down", seed),
        rules=tuple(Rule.from_body(_json(text)) for text in rule or ()),
        idle_s=idle_s,
        max_flows=max_flows,
        any_port=any_port,
        keep_ttl=keep_ttl,
        dont_fragment=dont_fragment,
        keep_payload=not no_payload,
        allow_from=tuple(allow_from or ()),
    ).checked()
    _run(plan, as_json)


def _run(plan: Plan, as_json: bool) -> None:
    """Forward until a signal arrives."""
    from udprism.relay.relay import Relay

    ended = end_on_signals()
    one = Relay(plan)
    try:
        if not as_json:
            print(f"{format_address(one.address)} → {format_address(plan.target)} ({one.description}); Ctrl-C ends it")
        else:
            print(
                json.dumps({"listen": format_address(one.address), "target": format_address(plan.target)}), flush=True
            )
        _show(one, ended, as_json)
    finally:
        one.close()
    _say_sums(one, as_json)


def _show(one: Relay, ended: threading.Event, as_json: bool) -> None:
    """Print one line per second until a signal arrives."""
    from udprism.relay.memory import DOWN, UP
    from udprism.relay.relay import rows_in_use
    from udprism.relay.sums import total_of

    sys.stdout.flush()
    before, then_s = (0, 0), time.monotonic()
    while not ended.wait(_LINE_EVERY_S):
        one.watch()
        snapshot = one.read()
        up, down, now_s = total_of(snapshot, UP), total_of(snapshot, DOWN), time.monotonic()
        if as_json:
            print(
                json.dumps({"flows": len(rows_in_use(snapshot)), "up": up.to_body(), "down": down.to_body()}),
                flush=True,
            )
        elif (up.in_, down.in_) != before:
            rates = [(total.in_ - last) / (now_s - then_s) for total, last in zip((up, down), before, strict=True)]
            words = [
                f"{arrow} {rate:,.0f}/s in, {total.lost:,} of {total.in_:,} lost, {total.held:,} held"
                for arrow, rate, total in zip("→←", rates, (up, down), strict=True)
            ]
            flows = len(rows_in_use(snapshot))
            print(f"{flows} flow{'' if flows == 1 else 's'}   {'   '.join(words)}", flush=True)
        before, then_s = (up.in_, down.in_), now_s


def _say_sums(one: Relay, as_json: bool) -> None:
    from udprism.relay.memory import DOWN, UP
    from udprism.relay.sums import total_of

    snapshot = one.read()
    sums = {name: total_of(snapshot, direction) for name, direction in (("up", UP), ("down", DOWN))}
    if as_json:
        hits = snapshot.rule_hits[: len(one.plan.rules)].tolist()
        print(json.dumps({name: total.to_body() for name, total in sums.items()} | {"rule_hits": hits}), flush=True)
        return
    for name, total in sums.items():
        causes = ", ".join(f"{count:,} by the {cause}" for cause, count in total.lost_by_cause.items()) or "none"
        print(
            f"{name:4} {total.in_:,} in = {total.out:,} out + {total.lost:,} lost ({causes}) + {total.held:,} held; "
            f"{total.duplicated:,} duplicated, {total.corrupted:,} corrupted, "
            f"{total.refused:,} refused by the destination"
        )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RequestError(f"not JSON: {error}", field="rule") from None
