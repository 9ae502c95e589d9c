"""The subjects, and how a message is put together. A sender's id is part of its subject, where permissions hold it."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

ROOT: Final = "udprism.1"
MAX_PART_BYTES: Final = 192 << 10
"""NATS delivers 1 MiB by default; a part this size delays what shares its connection by at most 0.8 s at 2 Mbit/s."""
MAX_MESSAGE_BYTES: Final = MAX_PART_BYTES + (4 << 10)
"""A part with its header."""
MAX_PARTS: Final = 128
_LENGTH: Final = struct.Struct("!I")
_ID: Final = re.compile(r"n-[0-9a-f]{8,16}")


class BadMeshMessage(ValueError):
    """Another node sent something invalid; counted and dropped."""


def is_node_id(text: object) -> bool:
    """Whether it is valid in a subject."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def here(node_id: str) -> str:
    """The subject of a node's heartbeat, once per second."""
    return f"{ROOT}.here.{node_id}"


def ask(to: str, sender: str, kind: str) -> str:
    """The subject of requests to a node that change nothing."""
    return f"{ROOT}.ask.{to}.{sender}.{kind}"


def do(to: str, sender: str) -> str:
    """The subject of commands to a node."""
    return f"{ROOT}.do.{to}.{sender}"


def sender_of(subject: str) -> str:
    """The id of the sender of `here`, `ask` or `do`. Raises: BadMeshMessage."""
    words = subject.split(".")
    place = {"here": 3, "ask": 4, "do": 4}.get(words[2] if len(words) > 2 else "", 0)
    if not place or len(words) <= place or not is_node_id(words[place]):
        raise BadMeshMessage("subject")
    return words[place]


def packed(header: Mapping[str, Any], body: bytes) -> Iterator[bytes]:
    """One message as parts that a server's `max_payload` allows; all have the header. The body travels compressed.

    Raises: BadMeshMessage for more than MAX_PARTS.
    """
    squeezed = zlib.compress(body, 1)
    count = max(1, -(-len(squeezed) // MAX_PART_BYTES))
    if count > MAX_PARTS:
        raise BadMeshMessage("too large")
    for part in range(count):
        head = json.dumps({**header, "part": part, "of": count}).encode()
        start = part * MAX_PART_BYTES
        yield _LENGTH.pack(len(head)) + head + squeezed[start : start + MAX_PART_BYTES]


def parted(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and piece of one part, checked. Raises: BadMeshMessage."""
    try:
        (length,) = _LENGTH.unpack_from(data)
        header = json.loads(data[_LENGTH.size : _LENGTH.size + length])
        part, count = header["part"], header["of"]
    except (struct.error, ValueError, TypeError, KeyError, RecursionError):
        raise BadMeshMessage("header") from None
    if type(part) is not int or type(count) is not int or not 0 <= part < count <= MAX_PARTS:
        raise BadMeshMessage("part")
    return header, data[_LENGTH.size + length :]


def unpacked(pieces: Mapping[int, bytes], limit_bytes: int = 64 << 20) -> bytes:
    """The body of all its parts. Raises: BadMeshMessage if it is damaged or larger than `limit_bytes`."""
    squeezed = b"".join(pieces[part] for part in sorted(pieces))
    expander = zlib.decompressobj()
    try:
        body = expander.decompress(squeezed, limit_bytes)
    except zlib.error:
        raise BadMeshMessage("compression") from None
    if not expander.eof:
        raise BadMeshMessage("too large")
    return body
