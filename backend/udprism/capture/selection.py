"""Selects a capture's datagrams: by interface, and by words such as `from=10.0.0.1:5004,port=6454`."""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

import numpy as np

from udprism.capture.datagrams import Datagrams
from udprism.columns.types import BoolColumn
from udprism.errors import RequestError

EXAMPLE: Final = "from=10.0.0.1:5004,to=10.0.0.2,port=6454"
_PLACES: Final = {"from": (slice(0, 16), slice(32, 34)), "to": (slice(16, 32), slice(34, 36))}


class _Word(NamedTuple):
    """One condition: bytes that the address's parts must have; None for any."""

    where: str
    host: bytes | None
    port: bytes | None


class Selection:
    """All words must hold. Raises: RequestError for words that are not conditions."""

    def __init__(self, words: str) -> None:
        self._words = [_read(word.strip()) for word in words.split(",")] if words.strip() else []

    def of(self, batch: Datagrams) -> BoolColumn:
        """bool[n]: which are selected."""
        chosen = np.ones(len(batch), np.bool_)
        for where, host, port in self._words:
            sides = _PLACES.values() if where == "port" else (_PLACES[where],)
            matches = np.zeros(len(batch), np.bool_)
            for host_at, port_at in sides:
                matches |= _equal(batch, host_at, host) & _equal(batch, port_at, port)
            chosen &= matches
        return chosen


def _equal(batch: Datagrams, at: slice, value: bytes | None) -> BoolColumn:
    if value is None:
        return np.ones(len(batch), np.bool_)
    equal: BoolColumn = (batch.addresses[:, at] == np.frombuffer(value, np.uint8)).all(axis=1)
    return equal


def _read(word: str) -> _Word:
    where, _, value = word.partition("=")
    try:
        if where == "port":
            return _Word(where, None, _port(value))
        if where in _PLACES:
            return _Word(where, *_host_and_port(value))
    except ValueError:
        pass
    raise RequestError(f"expected words such as {EXAMPLE}, not {word!r}", field="filter")


def _host_and_port(value: str) -> tuple[bytes, bytes | None]:
    if value.startswith("["):
        host, bracket, port = value[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError(value)
        port = port.removeprefix(":")
    elif value.count(":") == 1:
        host, _, port = value.partition(":")
    else:
        host, port = value, ""
    address = ipaddress.ip_address(host)
    packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    return packed, _port(port) if port else None


def _port(text: str) -> bytes:
    if not text.isdecimal() or not 0 <= int(text) < 65_536:
        raise ValueError(text)
    return int(text).to_bytes(2)
