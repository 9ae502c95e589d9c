"""`udprism doctor`: what on this machine would keep it from starting, or make its figures wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from udprism.cli.doctor import clocks, link, nodes, path, ports
from udprism.cli.doctor.finding import Finding, Severity
from udprism.cli.flags import flag, read_settings
from udprism.settings import Settings

_CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    ports.check_descriptors,
    ports.check_formats,
    link.check_receive_buffer,
    link.check_receiver,
    link.check_link,
    path.check_ipv6,
    path.check_container,
    clocks.check_clock,
    clocks.check_clock_jumps,
    path.check_mtu,
    path.check_round_trips,
)


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, in reading order."""
    running = ports.check_running(settings)
    if running is not None:
        yield running
        yield ports.check_stream(settings)
    else:
        yield ports.check_udp_port(settings)
        yield ports.check_http_port(settings)
    for check in _CHECKS:
        yield check(settings)
    if settings.nats:
        yield nodes.check_nats(settings)


def doctor(
    udp: Annotated[str | None, flag("udp")] = None,
    http: Annotated[str | None, flag("http")] = None,
    clients: Annotated[int | None, flag("clients")] = None,
    nats: Annotated[list[str] | None, flag("nats")] = None,
    nats_creds: Annotated[Path | None, flag("nats_creds")] = None,
    nats_ca: Annotated[Path | None, flag("nats_ca")] = None,
    nats_plain: Annotated[bool | None, flag("nats_plain")] = None,
) -> None:
    """Check what on this machine would make figures wrong.

    Works before a start and beside a running udprism. Exits with 1 if figures would be wrong.
    """
    settings = read_settings(
        udp=udp,
        http=http,
        clients=clients,
        nats=",".join(nats) if nats else None,
        nats_creds=nats_creds,
        nats_ca=nats_ca,
        nats_plain=nats_plain,
    )
    failed = 0
    for finding in examine(settings):
        print(f"{finding.severity.value:5} {finding.saw}", flush=True)
        if finding.means:
            print(f"      impact: {finding.means}")
        if finding.mend:
            print(f"      fix:    {finding.mend}", flush=True)
        failed += finding.severity is Severity.FAIL
    raise typer.Exit(1 if failed else 0)
