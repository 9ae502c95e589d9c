"""The page's own modules, by the same golden vectors as the Python side, run in the browser that serves them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser.conftest import ROOT, Visit
from support.program import Program
from udprism.node.bodies.links import link_fields_body

GOLDEN = Path(__file__).parents[1] / "golden"
WIRE = json.loads((GOLDEN / "wire.json").read_text())
LIVE = json.loads((GOLDEN / "live.json").read_text())

PLAIN_FRAME = """(() => {
  const f = m.parseFrame(Uint8Array.from(x.match(/../g) ?? [], (byte) => parseInt(byte, 16)).buffer);
  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const lists = (of) => of && Object.fromEntries(Object.entries(of).map(([k, v]) => [k, Array.from(v)]));
  const { rgba, state, flags, ageMs } = f;
  return {
    number: f.number, unix_ms: f.unixMs, slots: f.slots, roster_version: f.rosterVersion, rgba: hex(rgba),
    ...lists({ state, flags, age_ms: ageMs }), stats: lists(f.stats),
    rows: f.rows.map((row) => ({
      slot: row.slot, newest: row.newest, received: row.received, lost: row.lost, sent: row.sent, rate_hz: row.rateHz,
      loss_ratio: row.lossRatio, jitter_ms: row.jitterMs, delay_ms: row.delayMs, silence_ms: row.silenceMs,
      cells_hex: hex(row.cells),
    })),
  };
})()"""
SLIDERS = json.dumps([one["slider"] for one in link_fields_body() if one["slider"]])
INSPECT = """(() => {
  const bytes = m.bytesOf(x);
  const header = m.readHeader(bytes);
  const fields = m.fieldsOf(bytes);
  return {
    session: header.sessionId, sequence: header.sequence, sent: String(header.sentAtUnixNs),
    pixels: m.readPixels(bytes),
    covered: fields.reduce((sum, field) => sum + field.bytes.length, 0), bytes: bytes.length,
    names: fields.map((field) => field.name),
  };
})()"""
TRY_FRAMES = """x.map((hex) => {
  try {
    m.parseFrame(Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16)).buffer);
    return "read";
  } catch (error) { return error.constructor.name; }
})"""


@pytest.fixture(scope="module")
def modules(browser: Browser, product: Program) -> Iterator[Visit]:
    """A page of the product's origin on which nothing runs."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(product.page + "/icon.svg")
    yield Visit(page, context)
    context.close()


def plain(value: Any) -> Any:
    """Golden values as lists, NaN for null inside a row."""
    return math.nan if value is None else value


def test_frames_are_read_as_the_golden_vectors_say(modules: Visit) -> None:
    for vector in LIVE:
        told = vector["decoded"]
        read: Any = modules.import_("feed/messages", PLAIN_FRAME, vector["hex"])
        for name in ("number", "unix_ms", "slots", "roster_version", "state", "flags", "age_ms", "stats"):
            assert read[name] == told[name], (vector["name"], name)
        rgba = told["rgba"] if isinstance(told["rgba"], str) else bytes(_flat(told["rgba"])).hex()
        assert read["rgba"] == rgba
        rows = told["rows"] or []
        assert len(read["rows"]) == len(rows)
        for row, expected in zip(read["rows"], rows, strict=True):
            for name, value in expected.items():
                if isinstance(value, str):
                    assert row[name] == value
                else:
                    assert row[name] == pytest.approx(plain(value), rel=1e-6, nan_ok=True), (vector["name"], name)


def _flat(value: Any) -> list[int]:
    return [number for part in value for number in (_flat(part) if isinstance(part, list) else [part])]


def test_a_frame_that_is_cut_short_is_refused(modules: Visit) -> None:
    whole = LIVE[-1]["hex"]
    cut = ["", "50", whole[: len(whole) // 4 * 2], "51" + whole[2:]]
    said = modules.import_("feed/messages", TRY_FRAMES, cut)
    assert said == ["ProtocolError"] * 4


def test_messages_that_are_none_are_refused(modules: Visit) -> None:
    said: Any = modules.import_(
        "feed/messages",
        "x.map((text) => { try { return m.parseText(text); } catch (e) { return e.constructor.name; } })",
        ["{", "null", "[]", '{"type":7}', '{"type":"later"}', '{"type":"hello","protocol":2}'],
    )
    assert said == ["ProtocolError"] * 4 + [None] + ["ProtocolError"]


def test_the_inspector_names_the_bytes_of_every_golden_datagram(modules: Visit) -> None:
    for vector in WIRE["colours"]:
        read: Any = modules.import_("views/wire", INSPECT, vector["hex"])
        assert read["session"] == vector["session_id"]
        assert read["sequence"] == vector["sequence"]
        assert read["sent"] == vector["sent_at_unix_ns"]
        assert read["pixels"] == vector["pixels"]
        assert read["covered"] == read["bytes"], "a byte without a name"
        assert read["names"][:7] == ["magic", "version", "type", "flags", "session id", "sequence number", "sent at"]


def test_a_plain_datagram_is_one_field(modules: Visit) -> None:
    fields: Any = modules.import_("views/wire", "m.fieldsOf(m.bytesOf(x)).map((f) => [f.name, f.value])", b"blue".hex())
    assert fields == [["colour name", "blue"]]


def test_softened_colours_cannot_flash(modules: Visit) -> None:
    told: Any = modules.import_(
        "draw/colour",
        """(() => {
          let least = 1, most = 0, red = 0;
          for (let r = 0; r < 256; r += 5) for (let g = 0; g < 256; g += 5) for (let b = 0; b < 256; b += 5) {
            const soft = m.soften(m.pack(r, g, b));
            const light = m.luminance(soft);
            const [x, y, z] = m.unpack(soft).map((v) => m.LINEAR[v]);
            least = Math.min(least, light); most = Math.max(most, light); red = Math.max(red, x / (x + y + z));
          }
          return [least, most, red];
        })()""",
    )
    least, most, red = told
    assert 0.19 <= least <= most <= 0.28
    assert most - least < 0.1
    assert red < 0.8


def test_colours_mix_as_light_does(modules: Visit) -> None:
    half = modules.import_("draw/colour", "m.unpack(m.mix(m.pack(0, 0, 0), m.pack(255, 255, 255), 0.5))")
    assert half == [188, 188, 188]


def test_an_address_says_the_place_and_is_read_back(modules: Visit) -> None:
    place = {"view": "wall", "find": "a b&c", "order": "loss", "lens": "delay", "spotlight": True, "open": "c-1"}
    text: Any = modules.import_("base/address", "m.formatPlace({...m.HOME, ...x}, m.HOME)", place)
    assert modules.import_("base/address", "m.parsePlace(x)", text) == place
    assert modules.import_("base/address", "m.parsePlace('?view=moon&lens=%00&tab=..')") == {}
    assert modules.import_("base/address", "m.formatPlace(m.HOME, m.HOME)") == ""


def test_retries_are_spread_and_never_later_than_fifteen_seconds(modules: Visit) -> None:
    delays: Any = modules.import_(
        "feed/feed", "[0, 1, 2, 5, 50].map((n) => [m.retryDelayMs(n, 0), m.retryDelayMs(n, 1)])"
    )
    assert delays == [[0, 500], [0, 1000], [0, 2000], [0, 15000], [0, 15000]]


SITUATION = {
    "feed": "live",
    "answered": True,
    "lastFrameUnixMs": 0,
    "retryAtUnixMs": 1500,
    "reason": "",
    "needsToken": False,
    "paused": False,
    "pausedAtUnixMs": None,
    "framesPerS": 60,
    "eager": True,
    "shownOneIn": 1,
    "serverState": "running",
    "nowUnixMs": 0,
}


def test_only_what_is_live_is_called_live(modules: Visit) -> None:
    def said(**otherwise: object) -> Any:
        return modules.import_("views/banner", "m.conditionOf(x)", SITUATION | otherwise)

    assert (said()["word"], said()["text"]) == ("Live", "")
    assert said(answered=False)["word"] == "Connecting"
    assert said(answered=False)["kind"] == "bad"  # there is a picture already, and it is old
    assert said(feed="waiting")["text"].endswith("the server does not answer; retrying in 2 s.")
    assert said(paused=True)["word"] == "Paused"
    assert said(serverState="restarting")["word"] == "Restarting"
    assert said(serverState="busy")["word"] == "Busy"
    assert said(serverState="hangs")["word"] == "Stuck"
    assert "12 frames per second, 1 frame in 5 shown" in said(framesPerS=12.3, shownOneIn=5)["text"]
    assert said(feed="refused", reason="it speaks another protocol")["button"] == "Reload"
    assert "5 pages are open; retrying" in said(feed="waiting", reason="5 pages are open")["text"]
    signed_out = said(feed="connecting", needsToken=True, reason="the server requires its token")
    assert (signed_out["button"], signed_out["kind"]) == ("Enter the token", "bad")
    assert "the server requires its token" in signed_out["text"]


@pytest.mark.parametrize(
    ("status", "problem", "reason"),
    [
        (401, {"type": "urn:udprism:problem:token", "detail": "send it"}, "requires its token"),
        (
            503,
            {"type": "urn:udprism:problem:too-many-viewers", "detail": "the maximum number of pages is open: 200"},
            "the maximum number of pages is open",
        ),
        (421, {"type": "urn:udprism:problem:host", "detail": "this Host is not served here"}, "this Host"),
        (403, {"type": "urn:udprism:problem:origin", "detail": "a proxy must forward Host"}, "forward Host"),
        (
            426,
            {"type": "urn:udprism:problem:websocket", "detail": "a websocket"},
            "must forward Upgrade and Connection",
        ),
        (502, None, "a proxy in between responds with HTTP 502"),
    ],
)
def test_page_says_what_the_server_said(modules: Visit, status: int, problem: object, reason: str) -> None:
    refusal: Any = modules.import_("feed/refusal", "m.refusalOf(...x)", [status, problem])
    assert reason in refusal["reason"]
    assert refusal["needsToken"] is (status == 401)


def test_unknown_numbers_are_dashes_and_a_small_loss_is_not_nothing(modules: Visit) -> None:
    said = modules.import_(
        "base/format",
        "[NaN, null, 0, 0.0001, 0.234].map(m.percent).concat(m.milliseconds(0.037), m.perSecond(9.98))",
    )
    assert said == ["–", "–", "0.0 %", "< 0.1 %", "23 %", "37 µs", "10.0/s"]


def test_a_delay_finer_than_its_column_is_not_called_zero(modules: Visit) -> None:
    script = """((world) => {
      const rows = new Map([[1, { delayMs: 0.042, jitterMs: 0 }]]);
      Object.assign(world, { stats: { delay: [0, 0, 3, 65535], jitter: [0, 0, 5, 65535] }, rows });
      return [0, 1, 2, 3].map((slot) => [m.delayText(world, slot), m.jitterText(world, slot)]);
    })(m.emptyWorld())"""
    assert modules.import_("feed/state", script) == [
        ["< 0.1 ms", "< 10 µs"],
        ["42 µs", "0.0 ms"],
        ["0.30 ms", "50 µs"],
        ["–", "–"],
    ]


def test_all_tiles_fit_the_area_or_keep_a_finger_s_size(modules: Visit) -> None:
    grid: Any = modules.import_("draw/tiles", "m.layoutTiles(10000, 1392, 600, 3)")
    assert grid["columns"] * grid["rows"] >= 10_000
    assert grid["heightPx"] <= 600
    phone: Any = modules.import_("draw/tiles", "m.layoutTiles(10000, 296, 400, 24)")
    assert phone["tilePx"] == 24


def test_link_values_survive_their_sliders(modules: Visit) -> None:
    back: Any = modules.import_(
        "dialogs/link",
        f"{SLIDERS}.map((s) => [0, 1, 5, s.most].map((v) => [v, m.shownAt(s, m.placeOf(s, v))]))",
    )
    for pairs in back:
        for value, shown in pairs:
            assert shown == pytest.approx(value, rel=0.05, abs=0.2)


def test_the_code_on_the_page_is_the_code_that_tests_start(home: Visit) -> None:
    for shown in (ROOT / "frontend" / "examples").iterdir():
        served: Any = home.page.evaluate("async (x) => await (await fetch(x)).text()", f"/examples/{shown.name}")
        assert served == shown.read_text()
