"""People look closer: cells answer, heads sort, and a link is tried beside the lanes."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from browser.conftest import Visit
from support.program import DEADLINE_S, Program


@pytest.fixture
def page(home: Visit, product: Program) -> Iterator[Page]:
    yield home.page
    httpx.delete(f"{product.page}/api/links/default")


def test_a_cell_says_what_it_is_and_opens_its_datagram(page: Page) -> None:
    page.click("#pause")
    expect(page.locator("#banner")).to_contain_text("Paused at")
    ribbon = page.locator(".lane .ribbon").first
    box = ribbon.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] - 3, box["y"] + 5)
    expect(ribbon).to_have_attribute("title", re.compile(r"^number [\d,]+: (arrived|lost)|^sent, not arrived yet"))
    page.mouse.move(box["x"] + box["width"] - 40, box["y"] + 5)
    expect(ribbon).to_have_attribute("title", re.compile(r"^number [\d,]+: arrived.*#[0-9a-f]{6}$"))
    said = ribbon.get_attribute("title") or ""
    page.mouse.click(box["x"] + box["width"] - 40, box["y"] + 5)
    expect(page.locator("#tab-datagrams")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".datagrams .is-chosen th")).to_have_text(said.split(":")[0].removeprefix("number "))


SECONDS = """() => {
  const cells = new Uint8Array(256 * 4);
  // Of the newest eight: a second begins before the fourth, three before the seventh.
  [1, 1, 1, 1 | 1 << 5, 1, 1, 1 | 3 << 5, 2 | 6 << 5].forEach((byte, at) =>
    cells.set([200, 100, 0, byte], (248 + at) * 4));
  const [ink, track] = [0xff111111, 0xff222222];
  const paints = { ground: 0xff333333, track, ink, faint: 0xff444444, accent: 0xff555555 };
  const pixels = new Uint32Array(8 * 4 * m.ROWS);
  m.drawCells(pixels, cells, 4, 8, paints);
  const lines = [];
  for (let x = 0; x < 32; x++) {
    if ([...Array(m.ROWS).keys()].every((row) => pixels[row * 32 + x] === ink)) lines.push(x);
  }
  return [lines, m.describeCell(cells, 251, 3), m.describeCell(cells, 254, 6), m.describeCell(cells, 255, 7)];
}"""


def test_a_lane_has_a_scale_of_time_in_which_a_stall_is_seen(home: Visit) -> None:
    told: Any = home.import_("draw/ribbon", f"({SECONDS})()")
    lines, second, stall, lost = told
    assert lines == [11, 23, 24], "a line before the second, a thick one where at least a second had nothing"
    assert second == "number 3: arrived, #c86400"
    assert stall == "number 6: arrived, after at least 2 s without any, #c86400"
    assert lost == "number 7: lost on the path"
    expect(home.page.locator("#lanes-key-shapes")).to_contain_text("a second")


def test_a_column_s_head_sorts(page: Page) -> None:
    page.get_by_role("button", name="Sort by jitter").click()
    expect(page.locator("#order")).to_have_value("jitter")
    expect(page.locator(".lanes-head .lane-jitter")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="Sort by name").click()
    expect(page.locator(".lanes-head .lane-who")).to_have_attribute("aria-sort", "ascending")
    assert "order=" not in page.url


def test_a_link_is_tried_with_one_press_and_taken_away_with_another(page: Page, product: Program) -> None:
    page.get_by_role("button", name="Busy Wi-Fi").click()
    expect(page.locator("#link-badge")).to_contain_text("all clients")
    page.get_by_role("button", name="Perfect", exact=True).click()
    expect(page.locator("#link-badge")).to_be_hidden()
    told = [event["text"] for event in product.get("/api/history")["events"] if event["kind"] == "link"]
    assert re.fullmatch(r".*link: burst .*, by the page at 127\.0\.0\.1", told[-2])


def test_the_link_stands_beside_the_lanes_which_stay_in_use(page: Page) -> None:
    page.click("#link-open")
    panel = page.locator("#link-dialog")
    expect(panel).to_be_visible()
    page.locator(".lane-name button").first.click()
    expect(page.locator("#drawer")).to_be_visible()
    expect(panel).to_be_visible()
    panel.get_by_role("button", name="Close").focus()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(page.locator("#drawer")).to_be_visible()


def test_the_wall_names_few_clients_and_marks_the_one_that_is_pointed_at_and_the_open_one(page: Page) -> None:
    page.click("a[data-view=wall]")
    expect(page.locator("#wall-names span")).to_have_count(10)
    expect(page.locator("#wall-names span").first).to_have_text("client-001")
    page.locator("#wall-canvas").hover(position={"x": 20, "y": 20})
    expect(page.locator("#wall-pointed")).to_be_visible()
    page.locator("#wall-canvas").click(position={"x": 20, "y": 20})
    expect(page.locator("#drawer-title")).to_have_text("client-001")
    opened = page.locator("#wall-opened").bounding_box()
    box = page.locator("#wall-canvas").bounding_box()
    assert opened
    assert box
    assert abs(opened["x"] - box["x"]) < 2
    page.mouse.move(1, 1)
    expect(page.locator("#wall-pointed")).to_be_hidden()
    page.click("#drawer-close")
    expect(page.locator("#wall-opened")).to_be_hidden()


ALL_WELL = """async () => {
  const { world, clock } = await import("/modules/main.js");
  world.frame.state.fill(2);
  world.frame.flags.fill(0);
  world.stats.loss.fill(0);
  clock.tickNow();
}"""
"""Of a picture that a pause keeps: on a busy machine a sender may fall behind, and something is wrong indeed."""
ONE_BEHIND = """async () => {
  const { world, clock } = await import("/modules/main.js");
  world.frame.flags[0] = 128;
  clock.tickNow();
}"""


def test_a_spotlight_on_nothing_says_so(page: Page) -> None:
    page.click("a[data-view=wall]")
    page.click("#pause")
    expect(page.locator("#banner")).to_contain_text("Paused at")
    page.evaluate(ALL_WELL)
    page.check("#spotlight")
    expect(page.locator("#wall-well")).to_be_visible()
    page.evaluate(ONE_BEHIND)
    expect(page.locator("#wall-well")).to_be_hidden()
    page.evaluate(ALL_WELL)
    expect(page.locator("#wall-well")).to_be_visible()
    page.uncheck("#spotlight")
    expect(page.locator("#wall-well")).to_be_hidden()


def test_a_lens_has_a_scale_that_fits_what_there_is(home: Visit) -> None:
    fitted = home.import_(
        "draw/lens",
        "[m.fit('delay', [30, 31, NaN, 0]), m.ticks('delay'), m.fit('delay', [32]), m.fit('delay', [9000])]",
    )
    assert fitted == [True, ["20.0 ms", "63.2 ms", "200 ms"], False, True]
    assert home.import_("draw/lens", "[m.position('delay', 1e-9), m.position('delay', 1e9)]") == [0, 1]


def test_a_program_that_joins_is_announced_on_every_view(page: Page, product: Program) -> None:
    expect(page.locator("#count-clients")).to_have_text("10")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"connect", product.udp)
        expect(page.locator("#notices")).to_contain_text("1 program joined: see Server")
        stranger.sendto(b"disconnect", product.udp)


def test_a_program_that_joined_has_a_lane_with_its_colours_and_stays_in_the_list(page: Page, product: Program) -> None:
    page.click("a[data-view=server]")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.settimeout(DEADLINE_S)
        stranger.sendto(b"connect name=passer-by", product.udp)
        heard = [stranger.recv(64).decode().strip() for _ in range(3)]
        row = page.locator("tr[data-session]", has_text="passer-by")
        lane = row.get_by_role("img", name=re.compile("the last [0-9]+ colours that were sent to it"))
        expect(lane).to_be_visible()
        stranger.sendto(b"disconnect", product.udp)
    expect(row).to_contain_text("left")
    expect(lane).to_be_visible()
    [left] = [one for one in product.get("/api/sessions")["left"] if one["name"] == "passer-by"]
    sent = [left["recent_rgb"][at : at + 6] for at in range(0, len(left["recent_rgb"]), 6)]
    names = {hex_[1:]: name for name, hex_, _ in hello_palette(page)}
    assert [names[rgb] for rgb in sent[:3]] == heard
    row.get_by_role("button").click()
    expect(page.locator("#session-facts")).to_contain_text(re.compile("left .* ago"))
    expect(page.locator("#session-facts .strip canvas")).to_be_visible()


def hello_palette(page: Page) -> list[tuple[str, str, str]]:
    palette: list[tuple[str, str, str]] = page.evaluate(
        "async () => (await import('/modules/main.js')).world.hello.palette.basic"
    )
    return palette
