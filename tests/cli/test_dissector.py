"""The dissector in a real tshark, over the golden datagrams: every field of each, and nothing of what is not ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from support import captures
from udprism.cli import app
from udprism.cli.dissector import source
from udprism.wire.measured import ByeReason, Kind

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "wire.json").read_text())
OTHER_PORT = 40_123
CAPTURED_S = 1_735_689_601


def test_the_command_prints_it() -> None:
    done = CliRunner().invoke(app, ["dissector"])
    assert (done.exit_code, done.stdout) == (0, source())


def test_it_knows_every_type_and_reason() -> None:
    for kind in Kind:
        assert f'[{kind.name}] = "{kind.name}"' in source()
    assert all(f"[{reason.value}] = " in source() for reason in ByeReason)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("tshark") is None and not os.environ.get("CI"):
        pytest.skip("needs tshark")
    path = tmp_path_factory.mktemp("dissector") / "udprism.lua"
    path.write_text(source())
    return path


def layers(script: Path, datagrams: list[bytes], port: int = 12345, snap_bytes: int = 0) -> list[dict[str, Any]]:
    """What tshark finds in each datagram from a port: all fields of ours, each as a list; empty where nothing is."""
    path = script.with_name("file.pcap")
    data = captures.pcap_head()
    for datagram in datagrams:
        frame = captures.ethernet(captures.ip4(captures.udp(datagram, ("10.0.0.1", port), ("10.0.0.2", OTHER_PORT))))
        kept = frame[: 42 + snap_bytes] if snap_bytes else frame
        data += captures.record(kept, CAPTURED_S, 123_456_789, original=len(frame))
    path.write_bytes(data)
    words = ["tshark", "-n", "-X", f"lua_script:{script}", "-r", str(path), "-T", "json", "--no-duplicate-keys"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Lua" not in done.stderr, done.stderr
    found = [packet["_source"]["layers"] for packet in json.loads(done.stdout)]
    assert "_ws.lua.error" not in done.stdout
    return [layer.get("udprism", {}) for layer in found]


def common(one: dict[str, Any], kind: Kind) -> dict[str, str]:
    sent_ns = int(one["sent_at_unix_ns"])
    return {
        "udprism.magic": "0xc7",
        "udprism.version": "1",
        "udprism.type": str(int(kind)),
        "udprism.flags": f"0x{one['hex'][6:8]}",
        "udprism.session": f"0x{one['session_id']:08x}",
        "udprism.sequence": str(one["sequence"]),
        "udprism.sent_at_ns": str(sent_ns),
    }


def expected(kind: Kind, one: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = common(one, kind)
    if kind is Kind.COLOUR:
        pixels = [":".join(f"{part:02x}" for part in pixel) for pixel in one["pixels"]]
        found |= {"udprism.colours": str(len(pixels)), "udprism.rgb": pixels if len(pixels) > 1 else pixels[0]}
    elif kind is Kind.BYE:
        found["udprism.bye.reason"] = str(int(ByeReason[one["reason"]]))
    else:
        names = ("highest", "received", "lost", "reordered", "duplicates", "late", "jitter_us")
        found |= {f"udprism.report.{name}": str(one[name]) for name in names}
    return found


ALL = [(bytes.fromhex(one["hex"]), expected(Kind.COLOUR, one)) for one in GOLDEN["colours"]]
ALL += [(bytes.fromhex(one["hex"]), expected(Kind.REPORT, one)) for one in GOLDEN["reports"]]
ALL += [(bytes.fromhex(one["ack_hex"]), expected(Kind.REPORT_ACK, one)) for one in GOLDEN["reports"]]
ALL += [(bytes.fromhex(one["hex"]), expected(Kind.BYE, one)) for one in GOLDEN["byes"]]


@pytest.mark.peer
@pytest.mark.parametrize("port", [12345, 23_456], ids=["our port", "another port"])
def test_every_field_of_every_golden_datagram_is_shown(script: Path, port: int) -> None:
    found = layers(script, [data for data, _ in ALL], port)
    for layer, (data, fields) in zip(found, ALL, strict=True):
        shown = {name: value for name, value in layer.items() if name not in ("udprism.sent_at", "udprism.delay_ms")}
        assert shown == fields, data.hex()
        sent_ns = int(fields["udprism.sent_at_ns"])
        if sent_ns > 0:
            moment = datetime.fromtimestamp(sent_ns // 10**9, UTC)
            assert f"{moment:%H:%M:%S}.{sent_ns % 10**9:09}" in layer["udprism.sent_at"]
            late_ms = (CAPTURED_S * 10**9 + 123_456_789 - sent_ns) / 1e6
            assert float(layer["udprism.delay_ms"]) == pytest.approx(late_ms, abs=0.01)


@pytest.mark.peer
def test_what_is_not_ours_is_left_alone_on_other_ports(script: Path) -> None:
    strange = [bytes.fromhex(one["hex"]) for one in GOLDEN["bad_binary"] if one["reason"] != "bye-reason"]
    strange += [bytes.fromhex(one["hex"]) for one in GOLDEN["commands"]]
    assert not any(layers(script, strange, 23_456))


@pytest.mark.peer
def test_texts_are_shown_on_our_port(script: Path) -> None:
    texts = [bytes.fromhex(one["hex"]) for one in GOLDEN["commands"] + GOLDEN["plain"]]
    for data, layer in zip(texts, layers(script, texts), strict=True):
        shown = data.partition(b"\0")[0].decode()  # a string of tshark's ends at a NUL
        assert layer["udprism.text"].rstrip("\r\n") == shown.rstrip("\r\n")


@pytest.mark.peer
def test_a_datagram_that_was_not_kept_whole_shows_what_was(script: Path) -> None:
    colours = bytes.fromhex(GOLDEN["colours"][0]["hex"])[:20] + bytes(range(30))
    report = bytes.fromhex(GOLDEN["reports"][1]["hex"])
    found = layers(script, [colours, report], snap_bytes=27)
    assert found[0]["udprism.colours"] == "10"
    assert found[0]["udprism.rgb"] == ["00:01:02", "03:04:05"]
    assert found[1]["udprism.report.highest"] == str(GOLDEN["reports"][1]["highest"])
    assert "udprism.report.received" not in found[1]
