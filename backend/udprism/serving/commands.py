"""The text half of the wire: the clients' commands, in ASCII, and the server's `retry`.

Bytes either parse or raise WireError with a short stable reason. Nothing that a server sends (a colour's name,
`#rrggbb`, `retry …`, any binary datagram) is accepted by `parse_command`: two servers pointed at each other by a
forged datagram must fall silent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes

import numpy as np

from udprism.errors import WireError
from udprism.wire import colours as palettes
from udprism.wire.colours import PaletteName
from udprism.wire.measured import MAX_COLOURS

MAX_COMMAND_BYTES: Final = 256
MAX_RESPONSE_BYTES: Final = 64
MAX_NAME_CHARACTERS: Final = 64
MAX_NAME_BYTES: Final = 160
"""Of a name as a command carries it, percent-encoded: with it, every other option still fits in the same command."""
MIN_RATE_HZ: Final = 0.01
MAX_RATE_HZ: Final = 1000.0
RETRY_BYTES: Final = 17
SERVER_ONLY_REASONS: Final = frozenset({"server-text", "server-binary"})
"""A sender of such text is itself a server, or echoes one: a stream to it would go in a circle."""
MAX_SERVER_ONLY_IN_A_ROW: Final = 16
"""So many of those, with nothing else from their address between them, end its session: a person at a quiz may well
answer `red` a few times, a server says it for ever."""

_TRAILING: Final = b"\r\n \0"
_RETRY: Final = b"retry "
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)
_ASKER: Final = re.compile(r"n-[0-9a-f]{8,16}\.c-[0-9a-f]{1,32}", re.ASCII)
_RATE: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,20})?", re.ASCII)
_COLOURS: Final = re.compile(r"[0-9]{1,3}", re.ASCII)
_KEY: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_NAME: Final = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})+", re.ASCII)
_UNQUOTED: Final = "".join(map(chr, range(ord("!"), ord("~") + 1))).replace("%", "")
"""What a name may hold as it is; all else takes three bytes for each of UTF-8."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Asks for a stream, or renews it. None: the server's choice. `line_feed`: the command ended in one."""

    measured: bool = False
    rate_hz: float | None = None
    colours: int | None = None
    palette: PaletteName | None = None
    name: str | None = None
    token: str | None = None
    line_feed: bool = False
    asker: str | None = None
    """`NODE.CLIENT`: who asks, if it is another node's hosted client."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Ends the session at once."""


@dataclass(frozen=True, slots=True)
class Response:
    """Printable text of at most 64 bytes. Shape only: whether its sender has a session is the server's matter.

    It is recorded and never answered.
    """

    text: str


Command: TypeAlias = Connect | Disconnect | Response


def parse_command(data: bytes) -> Command:
    """One text datagram that came to the server.

    Raises: WireError: `too-long`, `empty`, `not-text`, `bad-command` (a known command, wrongly written), `bad-option`
    (an option's value), `duplicate-option`, `server-text` (only a server sends that).
    """
    if len(data) > MAX_COMMAND_BYTES:
        raise WireError("too-long")
    body = data.rstrip(_TRAILING)
    if not body:
        raise WireError("empty")
    if body == b"connect":
        return Connect(line_feed=b"\n" in data)
    if body == b"disconnect":
        return Disconnect()
    if body.startswith(b"connect "):
        return _parse_options(_printable_ascii(body), line_feed=b"\n" in data[len(body) :])
    if body.startswith(b"disconnect "):
        raise WireError("bad-command")
    return _parse_response(body)


def _printable_ascii(body: bytes) -> str:
    text = body.decode("latin-1")
    if not (text.isascii() and text.isprintable()):
        raise WireError("not-text")
    return text


def _parse_options(text: str, *, line_feed: bool) -> Connect:
    options: dict[str, str] = {}
    for word in text.split(" ")[1:]:
        if not word:
            continue
        key, equals, value = word.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise WireError("bad-command")
        if key in options:
            raise WireError("duplicate-option")
        options[key] = value
    return Connect(
        measured=_measured(options.get("v")),
        rate_hz=_rate_hz(options.get("rate_hz")),
        colours=_colours(options.get("colours")),
        palette=_palette(options.get("palette")),
        name=_name(options.get("name")),
        token=_token(options.get("token")),
        line_feed=line_feed,
        asker=_asker(options.get("id")),
    )


def _asker(value: str | None) -> str | None:
    if value is not None and not _ASKER.fullmatch(value):
        raise WireError("bad-option")
    return value


def _measured(value: str | None) -> bool:
    if value not in (None, "1"):
        raise WireError("bad-option")
    return value is not None


def _rate_hz(value: str | None) -> float | None:
    if value is None:
        return None
    if not _RATE.fullmatch(value) or not MIN_RATE_HZ <= float(value) <= MAX_RATE_HZ:
        raise WireError("bad-option")
    return float(value)


def _colours(value: str | None) -> int | None:
    if value is None:
        return None
    if not _COLOURS.fullmatch(value) or not 1 <= int(value) <= MAX_COLOURS:
        raise WireError("bad-option")
    return int(value)


def _palette(value: str | None) -> PaletteName | None:
    if value is None:
        return None
    if value not in palettes.PALETTES:
        raise WireError("bad-option")
    return value


def _name(value: str | None) -> str | None:
    if value is None:
        return None
    if not _NAME.fullmatch(value):
        raise WireError("bad-option")
    try:
        name = unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise WireError("bad-option") from None
    if not _is_printable(name):  # and short enough, or it would not have fitted in the command
        raise WireError("bad-option")
    return name


def _token(value: str | None) -> str | None:
    if value is not None and not _TOKEN.fullmatch(value):
        raise WireError("bad-option")
    return value


def _parse_response(body: bytes) -> Response:
    if palettes.is_plain_colour(body) or _is_retry(body):
        raise WireError("server-text")
    if len(body) > MAX_RESPONSE_BYTES:
        raise WireError("too-long")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise WireError("not-text") from None
    if not text.isprintable():
        raise WireError("not-text")
    return Response(text)


def name_fault(name: str) -> str | None:
    """What is wrong with a name for a `connect`, and what is accepted; None if the name is valid."""
    if not _is_printable(name):
        return f"a name has 1 to {MAX_NAME_CHARACTERS} printable characters"
    if name != name.strip():
        return "a name has no space at either end"
    taken = len(_encode_name(name))
    if taken > MAX_NAME_BYTES:
        return f"a name takes at most {MAX_NAME_BYTES} bytes in a command; this one, percent-encoded, takes {taken}"
    return None


def is_name(name: str) -> bool:
    """Whether a hosted client may have this name: its `connect` fits in a command, whatever its other options."""
    return name_fault(name) is None


def _is_printable(name: str) -> bool:
    return 1 <= len(name) <= MAX_NAME_CHARACTERS and name.isprintable()


def _encode_name(name: str) -> str:
    return quote(name, safe=_UNQUOTED)


def encode_connect(connect: Connect) -> bytes:
    """What a client sends; without options the bare `connect`, which foreign servers understand too.

    Who asks is left out if a long name leaves it no room: then that server's node cannot tell what became of datagrams.
    Raises: ValueError if it takes more than 256 bytes, which it does not if `is_name(connect.name)`.
    """
    words = ["connect"]
    if connect.measured:
        words.append("v=1")
    if connect.rate_hz is not None:
        words.append(f"rate_hz={np.format_float_positional(connect.rate_hz, trim='-')}")
    if connect.colours is not None:
        words.append(f"colours={connect.colours}")
    if connect.palette is not None:
        words.append(f"palette={connect.palette}")
    if connect.name is not None:
        words.append(f"name={_encode_name(connect.name)}")
    if connect.token is not None:
        words.append(f"token={connect.token}")
    data = " ".join(words).encode("ascii") + (b"\n" if connect.line_feed else b"")
    if connect.asker is not None and len(data) + len(asker := f" id={connect.asker}".encode()) <= MAX_COMMAND_BYTES:
        data = data.removesuffix(b"\n") + asker + (b"\n" if connect.line_feed else b"")
    if len(data) > MAX_COMMAND_BYTES:
        raise ValueError(f"a command of {len(data)} bytes, at most {MAX_COMMAND_BYTES} are allowed")
    return data


def encode_disconnect() -> bytes:
    """What a client sends when it leaves."""
    return b"disconnect"


def encode_retry(token: str) -> bytes:
    """17 bytes: the only answer to an address that has not proven itself."""
    return _RETRY + token.encode("ascii")


def parse_retry(data: bytes) -> str:
    """The token of a `retry`, at the client. Raises: WireError: `not-retry`."""
    body = data.rstrip(_TRAILING)
    if not _is_retry(body):
        raise WireError("not-retry")
    return body[len(_RETRY) :].decode("ascii")


def _is_retry(body: bytes) -> bool:
    return (
        len(body) == RETRY_BYTES
        and body.startswith(_RETRY)
        and _TOKEN.fullmatch(body[len(_RETRY) :].decode("latin-1")) is not None
    )
