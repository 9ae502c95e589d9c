"""Figures and pictures are taken away from where they are looked at; delays over time and runs of losses."""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path

import pytest
from playwright.sync_api import Download, Page, expect

from browser.conftest import DEADLINE_MS, Visit


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def saved(page: Page, selector: str) -> Download:
    with page.expect_download() as download:
        page.click(selector)
    return download.value


@pytest.fixture
def opened(home: Visit) -> Page:
    home.page.locator(".lane-name button").first.click()
    expect(home.page.locator("#past-charts .readout").first).to_contain_text("/s", timeout=DEADLINE_MS)
    return home.page


def test_curves_lanes_and_delays_are_saved_as_pictures(opened: Page) -> None:
    expect(opened.locator("#delays-heat")).to_be_visible(timeout=DEADLINE_MS)
    for what, least in (("timeline-charts", 100), ("past-charts", 250), ("lanes", 300), ("delays", 90)):
        width, height = png_size(saved(opened, f"[data-save={what}]").path())
        assert width > 200, what
        assert height > least, what
    opened.click("#tab-flight")
    assert png_size(saved(opened, "[data-save=panel-flight]").path())[1] > 200


def test_figures_are_saved_as_csv(opened: Page) -> None:
    for link in ("#timeline-csv", "#past-csv"):
        until_s = time.monotonic() + DEADLINE_MS / 1000
        # A step lasts a second, and a curve that has just begun has none.
        while len(opened.request.get(opened.locator(link).evaluate("a => a.href")).text().splitlines()) < 2:
            assert time.monotonic() < until_s, link
        lines = saved(opened, link).path().read_text().splitlines()
        assert "rate_hz" in lines[0], link
        assert len(lines) > 1, link
    opened.click("#tab-datagrams")
    assert saved(opened, "#datagrams-csv").path().read_text().startswith("sequence,fate")


def test_delays_over_time_have_an_axis(opened: Page) -> None:
    expect(opened.locator("#heat-most")).to_have_text(re.compile(r"^[\d.,]+ (µs|ms|s)$"), timeout=DEADLINE_MS)
    expect(opened.locator("#delays-middle")).to_be_visible()
    expect(opened.locator("#loss-runs")).not_to_have_text("")


def test_losses_in_a_row_are_counted_by_length(home: Visit) -> None:
    fates = ["lost", "received", "lost", "lost", "received", "late", "lost", "in_flight"]
    told = home.import_("draw/heat", "m.lossRuns(x.map((fate) => ({ fate })))", fates)
    assert told == [[1, 2], [2, 1]]


def test_a_datagram_counts_once_in_the_heat_map_and_old_ones_leave(home: Visit) -> None:
    script = """(() => {
      const heat = new m.Heat();
      const one = (sequence, at, delay_ms) => ({ sequence, received_at_ns: at * 1e9, delay_ms });
      heat.take([one(1, 1000, 1), one(2, 1001, 10), one(3, 1001, null)]);
      heat.take([one(2, 1001, 10)]);
      const { counts, from, to, total } = heat.picture();
      heat.take([one(4, 1000 + m.SECONDS, 5)]);
      const last = m.SECONDS - 1;
      return [total, from, to, counts[last - 1], counts[(m.ROWS - 1) * m.SECONDS + last], heat.picture().total];
    })()"""
    assert home.import_("draw/heat", script) == [2, 1, 10, 1, 1, 2]
