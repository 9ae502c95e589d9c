"""Another node on this page: chips, its lanes, and a node that is gone."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from browser.conftest import DEADLINE_MS, Open
from support import program
from support.nats import running_nats


def test_the_page_shows_another_nodes_lanes_and_says_when_it_is_gone(visit: Open, tmp_path: Path) -> None:
    with (
        running_nats(tmp_path) as nats,
        program.ephemeral("--nats", nats.url, "--node", "east", "--clients", "1") as east,
        program.ephemeral("--nats", nats.url, "--node", "west", "--clients", "3") as west,
    ):
        one = visit(east.page + "/")
        expect(one.page.locator(".lane")).to_have_count(1)
        chip = one.page.locator(".node", has_text="west")
        expect(chip).to_have_text("west 3 clients")
        chip.click()
        expect(one.page.locator(".lane")).to_have_count(3)
        expect(one.page.locator("#feed-pill")).to_have_attribute("data-state", "live")
        names = {client["name"] for client in west.get("/api/clients")["clients"]}
        shown = one.page.locator(".lane-name button").all_inner_texts()
        assert all(any(name in text for text in shown) for name in names)
        one.page.locator(".node", has_text="east").click()
        expect(one.page.locator(".lane")).to_have_count(1)
        west.process.kill()
        gone = one.page.locator(".node[data-state='gone']")
        expect(gone).to_contain_text(re.compile(r"west 3 clients, gone, \d+ s ago"), timeout=DEADLINE_MS)
