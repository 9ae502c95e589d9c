"""`udprism inspect FILE`: the flows of a capture."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from udprism.errors import CaptureError, RequestError

EXIT_BROKEN = 1
_AS_HELP = "PORT=FORMAT: the format of what is sent to that port; the usual ports are known."


def inspect(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="A pcap or pcapng file; several are read as one.")
    ],
    as_format: Annotated[list[str] | None, typer.Option("--as", help=_AS_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with rates over time.")] = False,
) -> None:
    """Show the flows of a capture file.

    Shows loss by sequence number for formats that have one, and the delay between two interfaces.
    """
    from udprism.capture.datagrams import DatagramReader
    from udprism.capture.series import Series
    from udprism.node.inspection import Inspection
    from udprism.udp.mapped_file import mapped

    formats = _formats(as_format or [])
    fault: CaptureError | None = None
    with ExitStack() as stack:
        readers = []
        for file in files:
            capture = stack.enter_context(mapped(file))
            try:
                readers.append((DatagramReader(capture.data), capture.forget))
            except CaptureError as error:
                raise RequestError(f"{file}: {error}", field="file") from None
        inspection = Inspection(Series(readers), formats)
        try:
            inspection.read()
        except CaptureError as error:
            fault = error
        body = inspection.body()
    body["fault"] = None if fault is None else {"offset": fault.offset, "reason": fault.reason, "detail": str(fault)}
    if as_json:
        print(json.dumps(body))
    else:
        _show(body)
    if fault is not None:
        raise typer.Exit(EXIT_BROKEN)


def _formats(words: list[str]) -> dict[int, str]:
    from udprism.wire.formats import FORMATS

    found = {}
    for word in words:
        port, _, name = word.partition("=")
        if not port.isdecimal() or not 0 < int(port) < 65_536 or name not in FORMATS:
            raise RequestError(f"{word!r} is not PORT=FORMAT; formats are {', '.join(FORMATS)}", field="as")
        found[int(port)] = name
    return found


def _show(body: dict[str, Any]) -> None:
    names = [one["name"] or str(number) for number, one in enumerate(body["interfaces"])]
    for flow in body["flows"]:
        rate = "" if flow["rate_hz"] is None else f", {flow['rate_hz']:,.1f}/s"
        print(f"{flow['from']} → {flow['to']}  {flow['format']} on {names[flow['interface']]}")
        print(f"    {flow['datagrams']:,} datagrams, {flow['bytes']:,} bytes{rate}{_losses(flow)}")
    for one in body["delays"]:
        flow, delay = body["flows"][one["flows"][0]], one["delay_ms"]
        print(f"{flow['from']} → {flow['to']}  {names[one['from_interface']]} → {names[one['to_interface']]}")
        print(
            f"    {one['datagrams']:,} datagrams took {delay['min']:.3f} to {delay['max']:.3f} ms, "
            f"median {delay['p50']:.3f}, p99 {delay['p99']:.3f}"
        )
    print(f"{len(body['flows']):,} flows in {body['packets']:,} packets")
    if body["skipped"]:
        print("skipped: " + ", ".join(f"{count:,} {reason}" for reason, count in body["skipped"].items()))
    if body["beyond"]:
        print(f"{sum(body['beyond'].values()):,} datagrams of flows beyond the limit")
    if body["cut_at"] is not None:
        print(f"the file was cut off or is still being written: the record at byte {body['cut_at']:,} is incomplete")
    if body["fault"] is not None:
        print(f"broken {body['fault']['detail']}: nothing after that was read")


def _losses(flow: dict[str, Any]) -> str:
    ledger = flow["ledger"]
    if ledger is None:
        why = flow["numbering"]
        return "" if why is None else f"; numbers: {why}, so its losses are unknown"
    return (
        f"; {ledger['lost']:,} of {ledger['sent']:,} lost, {ledger['duplicates']:,} duplicate, "
        f"{ledger['reordered']:,} reordered"
    )
