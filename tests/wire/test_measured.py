"""Binary datagrams: the golden vectors, and what must hold for any bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udprism.columns.types import Rows
from udprism.errors import WireError
from udprism.wire import measured as wire

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "wire.json").read_text("utf-8"))
FIGURES = ("highest", "received", "lost", "reordered", "duplicates", "late", "jitter_us")

u32 = st.integers(0, 2**32 - 1)
session_ids = st.integers(1, 2**32 - 1)
instants = st.integers(-(2**63), 2**63 - 1)
pixels = st.integers(1, wire.MAX_COLOURS).flatmap(lambda n: st.binary(min_size=3 * n, max_size=3 * n))
colours = st.builds(wire.Colour, session_ids, u32, instants, pixels)
reports = st.builds(wire.Report, session_ids, u32, instants, *[u32] * 7)
byes = st.builds(wire.Bye, session_ids, u32, instants, st.sampled_from(wire.ByeReason))


def encode(datagram: wire.Datagram) -> bytes:
    if isinstance(datagram, wire.Colour):
        return wire.encode_colour(datagram)
    if isinstance(datagram, wire.Report):
        return wire.encode_report(datagram)
    if isinstance(datagram, wire.ReportAck):
        return wire.encode_report_ack(datagram)
    return wire.encode_bye(datagram)


datagrams = st.one_of(colours, reports, st.builds(wire.ReportAck, reports), byes)
mutated = st.tuples(datagrams.map(encode), st.integers(0, 24), st.integers(0, 255), st.integers(-3, 3)).map(
    lambda m: mutate(*m)
)


def mutate(data: bytes, place: int, value: int, longer: int) -> bytes:
    """One byte changed near the front, and a few bytes more or less at the end."""
    changed = bytearray(data)
    if place < len(changed):
        changed[place] = value
    return bytes(changed[:longer]) if longer < 0 else bytes(changed) + b"\x01" * longer


def datagram_or_reason(data: bytes) -> wire.Datagram | str:
    try:
        return wire.decode_datagram(data)
    except WireError as error:
        return error.reason


def golden_colour(vector: dict[str, Any]) -> wire.Colour:
    pixel_bytes = bytes(value for pixel in vector["pixels"] for value in pixel)
    return wire.Colour(vector["session_id"], vector["sequence"], int(vector["sent_at_unix_ns"]), pixel_bytes)


def golden_report(vector: dict[str, Any]) -> wire.Report:
    return wire.Report(
        vector["session_id"], vector["sequence"], int(vector["sent_at_unix_ns"]), *[vector[name] for name in FIGURES]
    )


def rows_of(payloads: list[bytes], width: int = 64) -> tuple[Rows, np.ndarray[tuple[int], np.dtype[np.int32]]]:
    """As the pool's receive buffer has them: rubbish behind each datagram, and the part beyond the width cut off."""
    rows = np.full((len(payloads), width), 0xC7, dtype=np.uint8)
    for row, payload in zip(rows, payloads, strict=True):
        row[: min(len(payload), width)] = np.frombuffer(payload[:width], dtype=np.uint8)
    return rows, np.array([len(payload) for payload in payloads], dtype=np.int32)


@pytest.mark.parametrize("vector", GOLDEN["colours"], ids=lambda vector: vector["hex"][:24])
def test_golden_colours_decode(vector: dict[str, Any]) -> None:
    assert wire.decode_datagram(bytes.fromhex(vector["hex"])) == golden_colour(vector)


@pytest.mark.parametrize("vector", [v for v in GOLDEN["colours"] if "note" not in v], ids=lambda v: v["hex"][:24])
def test_golden_colours_encode(vector: dict[str, Any]) -> None:
    assert wire.encode_colour(golden_colour(vector)).hex() == vector["hex"]


@pytest.mark.parametrize("vector", GOLDEN["reports"], ids=lambda vector: vector["hex"][:24])
def test_golden_reports_and_their_acks(vector: dict[str, Any]) -> None:
    report, data = golden_report(vector), bytes.fromhex(vector["hex"])
    assert wire.encode_report(report) == data
    assert wire.decode_report(data) == report
    assert wire.acknowledge(data).hex() == vector["ack_hex"]
    assert wire.decode_datagram(bytes.fromhex(vector["ack_hex"])) == wire.ReportAck(report)


@pytest.mark.parametrize("vector", GOLDEN["byes"], ids=lambda vector: vector["reason"])
def test_golden_byes(vector: dict[str, Any]) -> None:
    bye = wire.Bye(
        vector["session_id"], vector["sequence"], int(vector["sent_at_unix_ns"]), wire.ByeReason[vector["reason"]]
    )
    assert wire.encode_bye(bye).hex() == vector["hex"]
    assert wire.decode_datagram(bytes.fromhex(vector["hex"])) == bye


@pytest.mark.parametrize("vector", GOLDEN["bad_binary"], ids=lambda v: f"{v['reason']}-{v['hex'][:12]}")
def test_golden_bad_datagrams_say_what_is_wrong(vector: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        wire.decode_datagram(bytes.fromhex(vector["hex"]))
    assert caught.value.reason == vector["reason"]


def test_golden_batch_decodes_row_by_row() -> None:
    payloads = [bytes.fromhex(vector["hex"]) for vector in GOLDEN["batch"]]
    batch = wire.decode_colours(*rows_of(payloads))
    assert [wire.DropReason(code).label for code in batch.reason] == [vector["reason"] for vector in GOLDEN["batch"]]
    assert batch.valid.tolist() == [vector["reason"] == "none" for vector in GOLDEN["batch"]]


def test_header_is_packed_and_as_long_as_said() -> None:
    assert wire.HEADER.itemsize == wire.HEADER_BYTES
    first = np.frombuffer(bytes.fromhex(GOLDEN["colours"][0]["hex"])[:20], dtype=wire.HEADER)[0]
    assert (first["magic"], first["version"], first["kind"]) == (wire.MAGIC, wire.VERSION, wire.Kind.COLOUR)
    assert (int(first["session_id"]), int(first["sequence"])) == (0x01020304, 0)
    assert str(first["sent_at_unix_ns"]) == GOLDEN["colours"][0]["sent_at_unix_ns"]


@given(datagrams)
def test_what_is_encoded_decodes_to_the_same(datagram: wire.Datagram) -> None:
    assert wire.decode_datagram(encode(datagram)) == datagram


@given(st.one_of(st.binary(max_size=2000), st.binary(max_size=80).map(lambda tail: b"\xc7\x01" + tail), mutated))
def test_any_bytes_decode_or_raise_the_one_error(data: bytes) -> None:
    datagram = datagram_or_reason(data)
    if isinstance(datagram, str):
        assert datagram in {"not-binary", "length", "version", "kind", "session-zero", "bye-reason"}
    else:
        assert encode(datagram) == data[:3] + b"\0" + data[4:]  # flags are ignored, all else is kept


@given(st.one_of(colours, st.builds(wire.ReportAck, reports), byes))
def test_nothing_that_a_server_sends_is_accepted_as_a_report(datagram: wire.Datagram) -> None:
    with pytest.raises(WireError) as caught:
        wire.decode_report(encode(datagram))
    assert caught.value.reason == "server-binary"


@given(reports)
def test_an_ack_is_never_larger_than_what_it_answers(report: wire.Report) -> None:
    data = wire.encode_report(report)
    assert wire.decode_datagram(wire.acknowledge(data)) == wire.ReportAck(report)
    assert len(wire.acknowledge(data)) == len(data)


@given(st.lists(st.one_of(st.binary(max_size=70), datagrams.map(encode), mutated), max_size=12), st.integers(23, 80))
def test_a_batch_decodes_as_one_by_one(payloads: list[bytes], width: int) -> None:
    batch = wire.decode_colours(*rows_of(payloads, width))
    assert batch.all_valid == bool(batch.valid.all())
    for row, payload in enumerate(payloads):
        datagram = datagram_or_reason(payload)
        label = wire.DropReason(batch.reason[row]).label
        if label == "control":  # what is wrong with one of these is found when it is decoded by itself
            assert not isinstance(datagram, wire.Colour)
            assert datagram not in {"not-binary", "version", "kind"}
            continue
        assert label == (datagram if isinstance(datagram, str) else "none")
        assert batch.valid[row] == isinstance(datagram, wire.Colour)
        if isinstance(datagram, wire.Colour):
            assert batch.kind[row] == wire.Kind.COLOUR
            assert batch.session_id[row] == datagram.session_id
            assert batch.sequence[row] == datagram.sequence
            assert batch.sent_at_unix_ns[row] == datagram.sent_at_unix_ns
            assert tuple(batch.rgb[row].tolist()) == datagram.rgb


@given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 9), st.integers(-(2**40), 2**40), st.randoms())
def test_a_batch_encodes_as_one_by_one(colour_count: int, n: int, spare: int, first: int, random: Any) -> None:
    session_id = np.array([random.randrange(1, 2**32) for _ in range(n)], dtype=np.uint32)
    sequence = np.arange(first, first + n, dtype=np.int64)
    sent = np.array([random.randrange(2**62) for _ in range(n)], dtype=np.int64)
    rgb = np.array([random.randrange(256) for _ in range(n * colour_count * 3)], dtype=np.uint8)
    rgb = rgb.reshape(n, colour_count, 3)
    width = 20 + 3 * colour_count
    wide = np.full((n, width + spare), 0xAA, dtype=np.uint8)
    wire.encode_colours(wide, session_id, sequence, sent, rgb)
    for row in range(n):
        colour = wire.Colour(int(session_id[row]), int(sequence[row]) % 2**32, int(sent[row]), rgb[row].tobytes())
        assert wide[row, :width].tobytes() == wire.encode_colour(colour)
    assert (wide[:, width:] == 0xAA).all()


@given(session_ids, u32, instants, instants)
def test_a_stamp_changes_the_send_time_and_nothing_else(session_id: int, sequence: int, old: int, new: int) -> None:
    rows, _ = rows_of([wire.encode_colour(wire.Colour(session_id, sequence, old, b"abc"))] * 3)
    before = rows.copy()
    wire.stamp(rows, new)
    assert [wire.decode_datagram(row[:23].tobytes()) for row in rows] == [
        wire.Colour(session_id, sequence, new, b"abc")
    ] * 3
    wire.stamp(rows, old)
    assert (rows == before).all()


def test_a_batch_of_none_is_all_valid() -> None:
    batch = wire.decode_colours(np.zeros((0, 64), np.uint8), np.zeros(0, np.int32))
    assert batch.all_valid
    assert len(batch.valid) == len(batch.reason) == len(batch.sequence) == 0


@given(st.integers(0x1C0, 0x1FF).map(chr), st.text(max_size=80))
def test_text_that_begins_with_the_magic_is_no_binary_datagram_alone_or_in_a_batch(letter: str, rest: str) -> None:
    data = (letter + rest).encode()
    assert data[:1] == wire.MAGIC_BYTE
    assert not wire.is_binary(data)
    rows = np.full((1, 64), wire.MAGIC, np.uint8)
    rows[0, : len(data)] = np.frombuffer(data[:64], np.uint8)
    decoded = wire.decode_colours(rows, np.array([len(data)], np.int32))
    assert decoded.reason[0] == wire.DropReason.NOT_BINARY


def test_a_colour_is_no_report() -> None:
    with pytest.raises(WireError) as caught:
        wire.decode_report(bytes.fromhex(GOLDEN["colours"][0]["hex"]))
    assert caught.value.reason == "server-binary"


def test_a_stamp_changes_the_time_of_sending_and_nothing_else() -> None:
    data = bytes.fromhex(GOLDEN["colours"][0]["hex"])
    rows = np.frombuffer(data * 2, np.uint8).reshape(2, -1).copy()
    wire.stamp(rows, np.array([1, -2]))
    assert [row[12:20].tobytes() for row in rows] == [(1).to_bytes(8), (-2).to_bytes(8, signed=True)]
    assert {row[:12].tobytes() + row[20:].tobytes() for row in rows} == {data[:12] + data[20:]}
