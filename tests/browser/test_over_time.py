"""What happened over time, on the page: zoomed by mouse and keyboard, linked to, the same stretch for all curves."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from browser.conftest import Open, Visit
from support.program import Program

DRAWN = """
(id) => {
  const canvas = document.querySelector(`#${id} canvas`);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(pixels.buffer)).size;
}
"""
REPAINT_MS = """
async () => {
  const { TimeCharts } = await import("/modules/draw/timechart.js");
  const root = Object.assign(document.createElement("div"), { id: "measured" });
  document.body.append(root);
  const curves = [{ label: "a", colour: "accent" }];
  const panels = ["a", "b", "c", "d"].map((name) => ({ name, term: "rate_hz", text: String, heightPx: 90, curves }));
  const charts = new TimeCharts(root, panels, document.createElement("p"), (range) => range);
  const times = Array.from({ length: 1080 }, (_, step) => 1.7e9 + step * 10);
  const column = times.map((_, step) => Math.sin(step) * 10);
  const took = [];
  for (let move = 0; move < 20; move++) {
    const begun = performance.now();
    charts.show(times, [[column], [column], [column], [column]], [], { from: 1.7e9 + move * 100, to: 1.7e9 + 10800 });
    await new Promise((resolve) => queueMicrotask(resolve));
    took.push(performance.now() - begun);
  }
  root.remove();
  return took.sort((a, b) => a - b)[10];
}
"""


def held(page: Page) -> tuple[float, float]:
    found = re.search(r"from=([\d.]+)&to=([\d.]+)", page.url)
    assert found, page.url
    return float(found[1]), float(found[2])


@pytest.fixture
def drawn(home: Visit) -> Page:
    """The page, with a curve to look at."""
    expect(home.page.locator("#timeline-charts .readout").first).to_have_text(re.compile(r"^\d.*/s$"))
    return home.page


def test_the_time_line_is_there_and_says_its_newest_value(drawn: Page) -> None:
    drawn.wait_for_function(f"() => ({DRAWN})('timeline-charts') > 3")
    expect(drawn.locator("#timeline-charts .plot").first).to_have_attribute("aria-label", re.compile("^Received, .*/s"))


def test_dragging_holds_a_stretch_and_a_link_shows_a_colleague_the_same(drawn: Page, visit: Open) -> None:
    box = drawn.locator("#timeline-charts .u-over").first.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    drawn.mouse.move(box["x"] + box["width"] * 0.4, middle)
    drawn.mouse.down()
    drawn.mouse.move(box["x"] + box["width"] * 0.9, middle, steps=5)
    drawn.mouse.up()
    expect(drawn.get_by_role("button", name="Back to live")).to_be_visible()
    begin, end = held(drawn)
    assert end - begin == pytest.approx(300, rel=0.05)
    words = drawn.locator("#timeline-range").inner_text()
    other = visit(drawn.url).page
    expect(other.locator("#timeline-range")).to_have_text(words)
    drawn.get_by_role("button", name="Back to live").click()
    expect(drawn.locator("#timeline-range")).to_have_text("")
    assert "from=" not in drawn.url


def test_keys_zoom_and_move(drawn: Page) -> None:
    drawn.locator("#timeline-charts .plot").first.focus()
    drawn.keyboard.press("+")
    begin, end = held(drawn)
    assert end - begin == pytest.approx(600 / 1.4, rel=0.01)
    drawn.keyboard.press("ArrowLeft")
    earlier, _ = held(drawn)
    assert begin - earlier == pytest.approx((end - begin) / 4, rel=0.01)
    drawn.get_by_role("button", name="10 min").click()
    assert "from=" not in drawn.url


def test_the_drawer_s_curves_come_first_and_show_the_same_stretch(drawn: Page) -> None:
    drawn.locator(".lane-name button").first.click()
    expect(drawn.locator("#past-charts .readout").first).to_have_text(re.compile(r"/s$"))
    curves = drawn.locator("#past").bounding_box()
    ledger = drawn.locator("#panel-overview .sum-list").first.bounding_box()
    assert curves
    assert ledger
    assert curves["y"] < ledger["y"]
    drawn.locator("#past-charts .plot").first.focus()
    drawn.keyboard.press("+")
    expect(drawn.locator("#timeline-range")).not_to_have_text("")


def test_what_happened_is_listed_and_marked(drawn: Page, product: Program) -> None:
    name = drawn.locator(".lane-name button").first.inner_text()
    (client,) = httpx.get(f"{product.page}/api/clients?query={name}").json()["clients"]
    httpx.put(f"{product.page}/api/links/{client['id']}", json={"loss_ratio": 0.3}).raise_for_status()
    try:
        drawn.locator(".lane-name button").first.click()
        drawn.get_by_text("What happened", exact=True).click()
        expect(drawn.locator("#past-events")).to_contain_text(
            f"link of {name}: loss_ratio 0.3, by a program at 127.0.0.1"
        )
    finally:
        httpx.delete(f"{product.page}/api/links/{client['id']}")


def test_what_is_known_of_the_last_stretch_is_a_table_too(drawn: Page) -> None:
    drawn.locator(".lane-name button").first.click()
    drawn.get_by_text("As a table").click()
    expect(drawn.locator("#past-table tbody tr").first).to_contain_text("/s")


def test_coarse_steps_go_on_as_fine_ones(home: Visit) -> None:
    joined: Any = home.import_(
        "feed/overtime",
        "m.joined(...x.map((body) => m.curvesOf(body)))",
        [body(10, 100, [5, 6, 7]), body(1, 122, [1, 2])],
    )
    assert joined["times"] == [110, 120, 123, 124]
    assert joined["rate"] == [5, 6, 1, 2]
    assert joined["lossRatio"] == [pytest.approx(0.1 / 5.1), pytest.approx(0.1 / 6.1), 0.5, pytest.approx(1 / 3)]


def body(step_s: int, begin: int, rates: list[int]) -> dict[str, object]:
    count = len(rates)
    columns = {"rate_hz": rates, "lost_by_cause": {"link": [1] * count}, "delay_ms": {}, "jitter_ms": [None] * count}
    return {"step_s": step_s, "from": begin, "flow": None, "columns": columns, "events": []}


def test_three_hours_repaint_within_50_ms(home: Visit) -> None:
    took_ms: Any = home.page.evaluate(REPAINT_MS)
    assert took_ms < 50


def test_marks_on_one_spot_do_not_hide_the_curve(home: Visit) -> None:
    assert home.import_("draw/timechart", "m.apart([0, 1, 3, 4, 7, 8.5], 4)") == [0, 4, 8.5]


def test_a_client_is_compared_with_another_one_and_a_link_shows_a_colleague_the_same(drawn: Page, visit: Open) -> None:
    drawn.locator(".lane-name button").first.click()
    rate = drawn.locator("#past-charts .readout").first
    expect(rate).to_have_text(re.compile(r"/s$"))
    drawn.fill("#compare", "client-004")
    drawn.keyboard.press("Enter")
    expect(rate).to_have_text(re.compile(r"^received \d.*/s, client-004 \d.*/s$"))
    expect(drawn.locator("#delays-beside")).to_have_text("Dotted: the delays of client-004.")
    bars = drawn.locator("#delays-bars")
    expect(bars).to_have_attribute("aria-label", re.compile(r"datagrams, from .+ to .+; of client-004 from .+ to "))
    heights = bars.evaluate("e => [...e.children].map((bar) => parseInt(bar.style.getPropertyValue('--other')))")
    assert max(heights) > 0
    expect(drawn.locator("#loss-runs")).to_contain_text("client-004: ")
    colleague = visit(drawn.url).page
    expect(colleague.locator("#compare")).to_have_value("client-004")
    expect(colleague.locator("#past-charts .readout").first).to_contain_text("client-004")
    drawn.fill("#compare", "nobody")
    drawn.keyboard.press("Enter")
    expect(drawn.locator("#compare-why")).to_have_text("No client is called “nobody”.")
    expect(rate).not_to_contain_text("client-004")
    expect(drawn.locator("#delays-beside")).to_have_text("")
    expect(bars).to_have_attribute("data-beside", "false")


def test_two_histograms_have_one_scale(home: Visit) -> None:
    told: Any = home.import_("draw/delays", "m.histogram([1, 1, 2], [10, 0])")
    assert (told["from"], told["to"]) == (0.001, 10)
    assert (sum(told["bins"]), sum(told["otherBins"])) == (3, 2)
    assert (told["otherBins"][0], told["otherBins"][-1]) == (1, 1)
    assert told["bins"][told["bins"].index(2)] == 2


def test_what_to_compare_with_is_a_name_or_how_much_earlier(home: Visit) -> None:
    asked = ["", "10 min before", "2 days", "north", "nobody"]
    assert home.import_(
        "feed/comparison", "x.map((words) => m.comparisonOf(words, (name) => name === 'north' ? 'c-1' : null))", asked
    ) == [
        None,
        {"flow": "", "shiftS": 600, "label": "10 min before"},
        {"flow": "", "shiftS": 172_800, "label": "2 day before"},
        {"flow": "c-1", "shiftS": 0, "label": "north"},
        "No client is called “nobody”.",
    ]


def test_the_past_lies_over_the_present_only_where_it_is_known(home: Visit) -> None:
    """Steps of 10 s beside steps of 1 s: the nearest one, and nothing where the other one has no step near."""
    times, other = [100.0, 101.0, 104.0, 106.0, 111.0, 131.0], [90.0, 100.0, 110.0]
    aligned = home.import_("feed/comparison", "m.aligned(...x)", [times, other, [1, 2, None]])
    assert aligned == [2, 2, 2, None, None, None]
