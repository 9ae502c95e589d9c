"""Responses of the API: JSON, and datagrams as JSON, CSV or JSON lines."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

from starlette.responses import Response, StreamingResponse

from udprism.node import bodies
from udprism.web import messages

DATAGRAM_FIELDS: Final = tuple(bodies.Datagram.__annotations__)


def answer(content: Mapping[str, Any], status: int = 200) -> Response:
    """A JSON answer."""
    return Response(messages.text(content), status_code=status, media_type="application/json")


def list_answer(name: str, items: list[bytes], status: int = 200) -> StreamingResponse:
    """A JSON answer with one list, of items that are JSON already (`messages.items`); takes them out of `items`.

    Megabytes are sent in pieces: each copy of the whole would stay in the process's heap.
    """
    begin, end = f'{{"{name}":['.encode(), b"]}"
    length = len(begin) + sum(map(len, items)) + max(0, len(items) - 1) + len(end)

    async def pieces() -> AsyncIterator[bytes]:
        yield begin
        while items:
            yield items.pop(0)
            yield b"," if items else b""
        yield end

    return StreamingResponse(pieces(), status, {"content-length": str(length)}, media_type="application/json")


def datagrams_answer(
    datagrams: Sequence[Mapping[str, Any]], fields: Sequence[str], form: Literal["json", "csv", "jsonl"]
) -> Response:
    """Datagrams in the requested format."""
    match form:
        case "csv":
            return Response(_csv(datagrams, fields), media_type="text/csv; charset=utf-8; header=present")
        case "jsonl":
            return Response("".join(messages.text(one) + "\n" for one in datagrams), media_type="application/jsonl")
        case "json":
            return answer({"datagrams": datagrams})


def _csv(datagrams: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> str:
    """RFC 4180; empty if a value is unknown."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fields)
    writer.writeheader()
    writer.writerows(datagrams)
    return text.getvalue()
