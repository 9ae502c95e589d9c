"""Receivers and senders on the page: added, seen and ended as clients are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import Open
from support import program
from support.program import Program


@pytest.fixture(scope="module")
def empty() -> Iterator[Program]:
    with program.ephemeral("--clients", "0") as running:
        yield running


def add(page: Page, kind: str, **fields: str) -> None:
    page.click("#add-open")
    page.check(f"#add-kinds [value={kind}]", force=True)
    for name, value in fields.items():
        field = page.locator(f"#add form:visible [name={name}]")
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    page.click("#add form:visible [type=submit]")


def test_a_receiver_and_a_sender_are_added_seen_ended_and_brought_back(visit: Open, empty: Program) -> None:
    page = visit(empty.page + "/?view=endpoints").page
    add(page, "receivers", format="ddp", listen="127.0.0.1:0", name="desk")
    row = page.locator("[data-kind=receivers] tbody tr")
    expect(row.locator("th")).to_have_text("desk")
    [receiver] = empty.get("/api/receivers")["receivers"]
    add(page, "senders", format="ddp", target=receiver["listen"], colours="10", name="wall")
    sender = page.locator("[data-kind=senders] tbody tr")
    expect(sender).to_contain_text(re.compile(r"wallDDP127\.0\.0\.1:\d+rainbow, 10 pixels"))
    expect(sender.locator("[data-label='Datagrams sent']")).to_have_text(re.compile("[1-9]"))
    expect(row.locator("[data-label='Senders heard']")).to_have_text("1")
    expect(row.locator("[data-label='Datagrams']")).to_have_text(re.compile("[1-9]"))
    row.get_by_role("button", name="Lanes of desk").click()
    expect(page.locator(".lane")).to_have_count(1)
    expect(page.locator(".lane .lane-state")).to_have_text(re.compile("live"))
    page.click("a[data-view=endpoints]")
    page.get_by_role("button", name="End the sender wall").click()
    expect(sender).to_have_count(0)
    page.get_by_role("button", name="Undo").last.click()
    expect(sender.locator("th")).to_have_text("wall")
    [again] = empty.get("/api/senders")["senders"]
    assert (again["colours"], again["target"]) == (10, receiver["listen"])
    heard_on = {"format": "e131", "listen": "127.0.0.1:0", "name": "stage", "interface": "lo", "universes": [1, 300]}
    empty.ask("POST", "/api/receivers", heard_on)
    page.get_by_role("searchbox", name="Find").fill("")  # that of the lanes of desk
    page.get_by_role("button", name="End the receiver stage").click()
    expect(row).to_have_count(1)
    page.get_by_role("button", name="Undo").last.click()
    expect(row).to_have_count(2)
    stage = empty.get("/api/receivers")["receivers"][-1]
    assert (stage["interface"], stage["universes"]) == ("lo", [1, 300])
    for end in ("End the sender wall", "End the receiver desk", "End the receiver stage"):
        page.get_by_role("button", name=end).click()
    expect(page.locator("#endpoints tbody tr")).to_have_count(0)


def test_what_the_server_refuses_is_said_beside_its_field(visit: Open, empty: Program) -> None:
    one = visit(empty.page + "/?view=endpoints")
    page = one.page
    add(page, "receivers", format="opaque", listen="127.0.0.1")
    expect(page.locator("#add [data-error=listen]:visible")).to_contain_text("port")
    expect(page.locator("#add form:visible [name=listen]")).to_be_focused()
    page.check("#add-kinds [value=senders]", force=True)
    page.fill("#add form:visible [name=target]", "8.8.8.8:4048")
    page.click("#add form:visible [type=submit]")
    expect(page.locator("#add [data-error=target]:visible")).not_to_be_empty()
    one.errors[:] = [error for error in one.errors if "status of 4" not in error]  # the browser notes each refusal
