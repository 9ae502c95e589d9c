"""What must hold of any bytes at all; `python -m tests.fuzz` looks for bytes of which it does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from support import plain_capture
from udprism.capture.buffer import Buffer
from udprism.capture.datagrams import DatagramReader, open_capture
from udprism.errors import CaptureError, WireError
from udprism.serving.commands import Connect, Disconnect, Response, encode_connect, parse_command
from udprism.wire import measured as wire
from udprism.wire.colours import is_plain_colour

COMMAND_REASONS = frozenset(
    {"too-long", "empty", "not-text", "bad-command", "bad-option", "duplicate-option", "server-text"}
)
DATAGRAM_REASONS = frozenset({"not-binary", "length", "version", "kind", "session-zero", "bye-reason"})
_ROW_BYTES = 64
"""As wide as the pool reads: a longer datagram's row is cut off, its length is not."""
_FLAGS_AT = 3


def command(data: bytes) -> None:
    """`parse_command` raises what it says, takes nothing that a server sends, and understands what it understood."""
    try:
        parsed = parse_command(data)
    except WireError as error:
        _expect(error, COMMAND_REASONS)
        return
    assert not is_plain_colour(data.rstrip(b"\r\n \0"))
    if isinstance(parsed, Response):
        assert 1 <= len(parsed.text.encode()) <= 64
        assert parsed.text.isprintable()
    elif isinstance(parsed, Connect):
        assert parsed.name is None or (1 <= len(parsed.name) <= 64 and parsed.name.isprintable())
        assert parsed.rate_hz is None or 0.01 <= parsed.rate_hz <= 1000
        assert parsed.colours is None or 1 <= parsed.colours <= 480
        assert parse_command(encode_connect(parsed)) == parsed
    else:
        assert isinstance(parsed, Disconnect)


def datagram(data: bytes) -> None:
    """`decode_datagram` raises what it says, and what it decodes becomes the same bytes again, but for the flags."""
    try:
        decoded = wire.decode_datagram(data)
    except WireError as error:
        _expect(error, DATAGRAM_REASONS)
        return
    assert _encoded(decoded) == data[:_FLAGS_AT] + b"\0" + data[_FLAGS_AT + 1 :]
    try:
        parse_command(data)
    except WireError:
        return
    raise AssertionError("a binary datagram was taken for a command")


def batch(data: bytes) -> None:
    """`decode_colours` says of each row of a batch what `decode_datagram` says of it alone.

    The bytes are cut into rows: a length byte (times eight, so that long ones occur), then so many of them.
    """
    pieces: list[bytes] = []
    while data and len(pieces) < 16:
        size = data[0] * 8 if data[0] >= 0x80 else data[0]
        pieces.append(data[1 : 1 + size])
        data = data[1 + size :]
    if not pieces:
        return
    rows = np.full((len(pieces), _ROW_BYTES), wire.MAGIC, np.uint8)  # behind a short datagram lies the last one's rest
    for row, piece in zip(rows, pieces, strict=True):
        row[: len(piece)] = np.frombuffer(piece[:_ROW_BYTES], np.uint8)
    many = wire.decode_colours(rows, np.array([len(piece) for piece in pieces], np.int32))
    for number, piece in enumerate(pieces):
        label = _label(piece)
        assert wire.DropReason(int(many.reason[number])).label == label, (piece, label)
        assert bool(many.valid[number]) == (label == "none")
        if label == "none":
            one = wire.decode_datagram(piece)
            assert isinstance(one, wire.Colour)
            assert (one.session_id, one.sequence) == (many.session_id[number], many.sequence[number])
            assert one.sent_at_unix_ns == many.sent_at_unix_ns[number]
            assert one.rgb == tuple(many.rgb[number].tolist())
    assert many.all_valid == bool(many.valid.all())


def capture(data: bytes) -> None:
    """A capture file is read as one block after the other would be, refused at the same place, and counted whole."""
    expected, fault = _plainly(data)
    seen: list[plain_capture.Packet] = []
    refused: CaptureError | None = None
    try:
        for packets in open_capture(Buffer(np.frombuffer(data, np.uint8))).packets():
            columns = (packets.record_at, packets.interface, packets.data_at, packets.captured)
            seen.extend(plain_capture.Packet(*row) for row in zip(*(one.tolist() for one in columns), strict=True))
    except CaptureError as error:
        refused = error
    assert seen == expected
    assert (refused and (refused.offset, refused.reason)) == (fault and (fault.offset, fault.reason))
    if fault is None or fault.reason not in ("magic", "header"):
        _datagrams_of(data, len(expected))


def _plainly(data: bytes) -> tuple[list[plain_capture.Packet], plain_capture.Fault | None]:
    packets: list[plain_capture.Packet] = []
    try:
        for packet in plain_capture.packets(data):
            packets.append(packet)  # noqa: PERF402  # those before a fault count too
    except plain_capture.Fault as fault:
        return packets, fault
    return packets, None


def _datagrams_of(data: bytes, packets: int) -> None:
    reader = DatagramReader(np.frombuffer(data, np.uint8))
    count = 0
    try:
        for batch in reader.datagrams():
            count += len(batch)
            assert len(batch)
            assert batch.addresses.shape == (len(batch), 36)
            assert ((batch.captured >= 0) & (batch.captured <= batch.length) & (batch.length < 1 << 24)).all()
            assert len(batch.payload(0)) == batch.captured[0]
            batch.rows(_ROW_BYTES)
    except CaptureError:
        pass
    assert reader.packets == packets == count + sum(reader.skips.count.values())


def _expect(error: WireError, reasons: frozenset[str]) -> None:
    assert error.reason in reasons


def _label(data: bytes) -> str:
    kinds = (wire.Kind.REPORT, wire.Kind.REPORT_ACK, wire.Kind.BYE)
    if data[:2] == bytes((wire.MAGIC, wire.VERSION)) and len(data) >= wire.HEADER_BYTES and data[2] in kinds:
        return "control"
    try:
        wire.decode_datagram(data)
    except WireError as error:
        return error.reason
    return "none"


def _encoded(decoded: wire.Datagram) -> bytes:
    match decoded:
        case wire.Colour():
            return wire.encode_colour(decoded)
        case wire.Report():
            return wire.encode_report(decoded)
        case wire.ReportAck():
            return wire.encode_report_ack(decoded)
        case wire.Bye():
            return wire.encode_bye(decoded)


HARNESSES: dict[str, Callable[[bytes], None]] = {
    "command": command,
    "datagram": datagram,
    "batch": batch,
    "capture": capture,
}
