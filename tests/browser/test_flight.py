"""The textbook's picture of one flow: strokes from what was sent to what arrived."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from browser.conftest import Visit
from support.program import Program

SECOND_NS = 1_000_000_000
BEGIN_NS = 1_700_000_000 * SECOND_NS


def datagram(sequence: int, sent_s: float | None, delay_ms: float | None, fate: str = "received") -> dict[str, object]:
    sent_at_ns = None if sent_s is None else BEGIN_NS + int(sent_s * SECOND_NS)
    received_at_ns = None if delay_ms is None or sent_at_ns is None else sent_at_ns + int(delay_ms * 1e6)
    return {
        "sequence": sequence,
        "fate": fate,
        "sent_at_ns": sent_at_ns,
        "received_at_ns": received_at_ns,
        "delay_ms": delay_ms,
    }


def strokes_of(home: Visit, datagrams: list[dict[str, object]], window_s: float) -> Any:
    return home.import_(
        "views/flight",
        "((told) => ({ strokes: told.strokes.map((s) => [s.datagram.sequence, s.up, isNaN(s.down) ? null : s.down]),"
        " oneIn: told.oneIn }))(m.strokesOf(x[0], x[1]))",
        [datagrams, window_s],
    )


def test_a_stroke_goes_from_when_it_was_sent_to_when_it_arrived(home: Visit) -> None:
    told = strokes_of(home, [datagram(1, 0.0, 100), datagram(2, 0.5, 500)], 1)
    assert told["strokes"] == [[1, pytest.approx(0.0), pytest.approx(0.1)], [2, pytest.approx(0.5), pytest.approx(1.0)]]


def test_a_loss_without_an_instant_stands_between_its_neighbours(home: Visit) -> None:
    lost = [datagram(2, None, None, "lost"), datagram(3, None, None, "lost")]
    told = strokes_of(home, [datagram(1, 0.0, 1), *lost, datagram(4, 0.9, 100)], 1)
    assert [stroke[1] for stroke in told["strokes"]] == [pytest.approx(at, abs=2e-3) for at in (0.0, 0.3, 0.6, 0.9)]
    assert [stroke[2] is None for stroke in told["strokes"]] == [False, True, True, False]


def test_only_the_window_s_datagrams_are_drawn(home: Visit) -> None:
    told = strokes_of(home, [datagram(number, number * 0.1, 1) for number in range(100)], 2)
    assert len(told["strokes"]) in (20, 21)


def test_a_fast_stream_is_sampled_and_says_so(home: Visit) -> None:
    told = strokes_of(home, [datagram(number, number / 1000, 1) for number in range(256)], 0.2)
    assert told["oneIn"] == 6
    assert len(told["strokes"]) < 40


@pytest.fixture
def flying(home: Visit, product: Program) -> Any:
    """The flight view of a client whose link loses and delays."""
    page = home.page
    name = page.locator(".lane-name button").first.inner_text()
    (client,) = httpx.get(f"{product.page}/api/clients?query={name}").json()["clients"]
    link = f"{product.page}/api/links/{client['id']}"
    httpx.put(link, json={"loss_ratio": 0.3, "delay_ms": 80}).raise_for_status()
    page.locator(".lane-name button").first.click()
    page.click("#tab-flight")
    yield page
    httpx.delete(link)


def test_datagrams_are_pointed_at_and_opened(flying: Page) -> None:
    expect(flying.locator("#flight-facts")).to_contain_text("lost. Point at one")
    flying.click("#pause")
    expect(flying.locator("#banner")).to_contain_text("Paused at")
    flying.focus("#flight-canvas")
    flying.keyboard.press("ArrowLeft")
    expect(flying.locator("#flight-facts")).to_contain_text("number")
    sequence = flying.locator("#flight-facts").inner_text().split(", ")[0].removeprefix("number ")
    flying.keyboard.press("Enter")
    expect(flying.locator("#tab-datagrams")).to_have_attribute("aria-selected", "true")
    expect(flying.locator(".datagrams .is-chosen th")).to_have_text(sequence)


def test_the_window_is_made_closer_and_farther(flying: Page) -> None:
    expect(flying.locator("#flight-scale")).to_contain_text("2,000 ms wide")
    flying.get_by_role("button", name="Closer").click()
    expect(flying.locator("#flight-scale")).to_contain_text("1,000 ms wide")
    flying.focus("#flight-canvas")
    flying.keyboard.press("-")
    flying.keyboard.press("-")
    expect(flying.locator("#flight-scale")).to_contain_text("5,000 ms wide")
