"""People look closer: cells answer, heads sort, and a link is tried beside the lanes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from browser.conftest import Visit
from support.program import Program


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


def test_a_column_s_head_sorts(page: Page) -> None:
    page.get_by_role("button", name="Sort by jitter").click()
    expect(page.locator("#order")).to_have_value("jitter")
    expect(page.locator(".lanes-head .lane-jitter")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="Sort by name").click()
    expect(page.locator(".lanes-head .lane-who")).to_have_attribute("aria-sort", "ascending")
    assert "order=" not in page.url


def test_a_link_is_tried_with_one_press_and_taken_away_with_another(page: Page) -> None:
    page.get_by_role("button", name="Busy Wi-Fi").click()
    expect(page.locator("#link-badge")).to_contain_text("everybody")
    page.get_by_role("button", name="Perfect", exact=True).click()
    expect(page.locator("#link-badge")).to_be_hidden()


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
