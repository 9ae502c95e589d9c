"""What a person changes about clients that are there, with the real program behind the page."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import DEADLINE_MS, Open, Visit
from support import program
from support.program import Program

SOON_MS = DEADLINE_MS


@pytest.fixture
def visitors(product: Program) -> Iterator[list[str]]:
    """Names of three clients besides the ten that are always there; gone afterwards."""
    made = product.ask("POST", "/api/clients", {"name": "visitor", "count": 3, "rate_hz": 20})["clients"]
    yield [client["name"] for client in made]
    there = {client["id"] for client in product.get("/api/clients")["clients"]}
    for client in made:
        if client["id"] in there:
            product.ask("DELETE", f"/api/clients/{client['id']}")


@pytest.fixture
def home(visit: Open, product: Program, visitors: list[str]) -> Visit:
    one = visit(product.page + "/")
    expect(one.page.locator(".lane[data-state=live]")).to_have_count(13, timeout=SOON_MS)
    return one


@pytest.fixture
def page(home: Visit) -> Page:
    return home.page


def open_change(page: Page, name: str) -> None:
    page.click(f".lane-name button >> text={name}")
    expect(page.locator("#drawer-title")).to_have_text(name)
    page.click("#drawer-change")
    expect(page.locator("#change")).to_be_visible()


def test_a_client_gets_another_name_and_rate_and_may_have_them_back(page: Page, visitors: list[str]) -> None:
    open_change(page, visitors[0])
    expect(page.locator("#change [name=name]")).to_be_focused()
    page.keyboard.type("guest of honour")  # over the old name, which is selected
    page.get_by_label("Datagrams per second").last.fill("50")
    page.keyboard.press("Enter")
    expect(page.locator("#change")).to_be_hidden()
    page.hover(".notice")  # which stays as long as somebody is about to press it
    expect(page.locator("#drawer-change")).to_be_focused()
    expect(page.locator("#drawer-title")).to_have_text("guest of honour", timeout=SOON_MS)
    expect(page.locator("#panel-overview [data-number=rate_hz]")).to_have_text("50.0/s", timeout=SOON_MS)
    lane = page.locator(".lane", has_text="guest of honour")
    expect(lane.locator(".lane-rate")).to_contain_text(re.compile(r"[345]\d\.\d/s"), timeout=SOON_MS)
    page.click(".notice >> text=Undo")
    expect(page.locator("#drawer-title")).to_have_text(visitors[0], timeout=SOON_MS)
    expect(page.locator("#panel-overview [data-number=rate_hz]")).to_have_text("20.0/s", timeout=SOON_MS)


def test_more_pixels_in_a_datagram_are_longer_datagrams(page: Page, visitors: list[str]) -> None:
    open_change(page, visitors[0])
    page.locator("#change").get_by_label("Pixels per datagram").fill("4")
    page.click("#change [type=submit]")
    expect(page.locator("#panel-overview [data-number=colours]")).to_have_text("4", timeout=SOON_MS)
    page.click("#tab-datagrams")
    expect(page.locator(".datagrams tbody tr").first).to_contain_text("32", timeout=SOON_MS)  # 20 + 4 × 3 bytes


PRESS = """ids => {
  const press = (id) => (document.getElementById(id) ?? [...document.querySelectorAll(".lane-name button")]
    .find((button) => button.textContent.includes(id))).click();
  ids.forEach(press);
  return document.getElementById("drawer-way").textContent;
}"""


def test_a_button_pressed_before_anything_is_known_of_its_client_does_what_it_says(
    page: Page, visitors: list[str], product: Program
) -> None:
    page.evaluate(PRESS, [visitors[0], "drawer-pause"])  # in one go: no message of the feed comes between
    expect(page.locator("#drawer-pause")).to_have_text("Resume client", timeout=SOON_MS)
    expect(page.locator(".lane", has_text=visitors[0])).to_have_attribute("data-state", "paused", timeout=SOON_MS)
    page.evaluate(PRESS, [visitors[1], "drawer-pause"])  # says "Pause client" at once, not what it said of the other
    expect(page.locator(".lane", has_text=visitors[1])).to_have_attribute("data-state", "paused", timeout=SOON_MS)
    page.evaluate(PRESS, [visitors[0], "drawer-pause"])
    expect(page.locator(".lane", has_text=visitors[0])).to_have_attribute("data-state", "live", timeout=SOON_MS)
    way = page.evaluate(PRESS, [visitors[2], "drawer-change"])
    [third] = product.get(f"/api/clients?query={visitors[2].replace(' ', '%20')}")["clients"]
    assert third["local_address"] in way, "it is not the address of the one before"
    expect(page.locator("#change [name=name]")).to_have_value(visitors[2])


def test_a_link_that_was_changed_stays_with_its_client_when_another_is_opened_at_once(
    page: Page, visitors: list[str], product: Program
) -> None:
    page.evaluate(PRESS, [visitors[0], "tab-link"])
    loss = page.locator("#panel-link").get_by_role("slider", name="Loss", exact=True)
    expect(page.locator("#panel-link .link-editor:not([inert])")).to_be_visible(timeout=SOON_MS)
    loss.press("End")
    page.evaluate(PRESS, [visitors[1]])
    expect(page.locator("#drawer-title")).to_have_text(visitors[1])
    expect(page.locator("#panel-link .link-clear")).to_be_disabled(timeout=SOON_MS)  # nothing is set for this one

    page.evaluate(PRESS, [visitors[0]])
    expect(page.locator("#panel-link .link-clear")).to_be_enabled(timeout=SOON_MS)
    links = {client["name"]: client["link"] for client in product.get("/api/clients?query=visitor")["clients"]}
    assert links[visitors[0]]["loss_ratio"] == 1.0
    assert links[visitors[1]] is None


def test_what_cannot_be_is_said_beside_its_field(home: Visit, visitors: list[str]) -> None:
    page = home.page
    open_change(page, visitors[0])
    name, rate = page.locator("#change [name=name]"), page.locator("#change [name=rate_hz]")
    name.fill(visitors[1])
    page.keyboard.press("Enter")
    expect(page.locator("#change [data-error=name]")).to_contain_text(visitors[1])
    expect(name).to_have_attribute("aria-invalid", "true")
    name.fill("")
    page.keyboard.press("Enter")
    expect(page.locator("#change [data-error=name]")).to_contain_text("at least 1 character")
    name.fill(visitors[0])
    rate.fill("2000")
    page.keyboard.press("Enter")
    expect(page.locator("#change [data-error=rate_hz]")).to_contain_text("1000")
    expect(page.locator("#change [data-error=name]")).to_be_empty()
    expect(rate).to_be_focused()
    expect(rate).to_have_attribute("aria-invalid", "true")
    rate.fill("")
    page.keyboard.press("Enter")
    expect(page.locator("#change [data-error=rate_hz]")).to_contain_text("number")
    page.keyboard.press("Escape")
    expect(page.locator("#change")).to_be_hidden()
    expect(page.locator("#drawer-title")).to_have_text(visitors[0])
    # The browser notes each refusal.
    home.errors[:] = [error for error in home.errors if "422" not in error and "409" not in error]


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the button of this name has the focus."""
    wanted = page.get_by_role("button", name=name, exact=True)
    for _ in range(30):
        page.keyboard.press("Tab")
        if wanted.evaluate("button => button === document.activeElement"):
            return
    raise AssertionError(f"{name} is not within thirty presses of Tab")


def test_a_client_is_paused_changed_removed_and_brought_back_by_keyboard_alone(
    page: Page, visitors: list[str], product: Program
) -> None:
    press = page.keyboard.press
    press("/")
    page.keyboard.type(visitors[1])
    expect(page.locator(".lane")).to_have_count(1)
    tab_to(page, visitors[1])
    press("Enter")
    expect(page.locator("#drawer-title")).to_have_text(visitors[1])
    tab_to(page, "Pause client")
    press("Enter")
    expect(page.locator("#drawer-pause")).to_have_text("Resume client", timeout=SOON_MS)
    press("Enter")
    expect(page.locator("#drawer-pause")).to_have_text("Pause client", timeout=SOON_MS)
    tab_to(page, "Change")
    press("Enter")
    page.keyboard.type(visitors[1] + " too")
    press("Tab")
    page.keyboard.type("40")
    press("Enter")
    expect(page.locator("#drawer-title")).to_have_text(visitors[1] + " too", timeout=SOON_MS)
    tab_to(page, "Remove")
    press("Enter")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.locator("#lanes-nothing")).to_be_visible(timeout=SOON_MS)
    notice = page.locator(".notice", has_text="Removed")
    expect(notice).to_be_visible()
    for _ in range(30):
        press("Tab")
        if notice.get_by_role("button", name="Undo").evaluate("button => button === document.activeElement"):
            break
    press("Enter")
    back = page.locator(".lane", has_text=visitors[1] + " too")
    expect(back.locator(".lane-state")).to_have_text("live", timeout=SOON_MS)
    for client in product.get(f"/api/clients?query={visitors[1].replace(' ', '%20')}")["clients"]:
        product.ask("DELETE", f"/api/clients/{client['id']}")


def test_those_who_were_found_are_removed_after_a_question_that_says_how_many(page: Page) -> None:
    page.fill("#find", "visitor")
    expect(page.locator(".lane")).to_have_count(3)
    page.click("text=Remove 3 found…")
    dialog = page.get_by_role("dialog", name="Remove 3 clients?")
    expect(dialog).to_contain_text("“visitor”, of 13 clients in all")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()  # Enter at once removes nobody
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.locator(".lane")).to_have_count(3)
    page.click("#remove-open")
    dialog.get_by_role("button", name="Remove 3 clients").click()
    expect(page.locator(".notice")).to_contain_text("Removed 3 clients")
    expect(page.locator("#lanes-nothing")).to_be_visible(timeout=SOON_MS)
    expect(page.locator("#remove-open")).to_be_disabled()
    page.click("#lanes-nothing button")
    expect(page.locator(".lane")).to_have_count(10)


def test_all_are_removed_by_keyboard_on_a_phone(visit: Open, tmp_path: Path) -> None:
    with program.serving(tmp_path, "--clients", "150") as crowded:
        page = visit(crowded.page + "/", width=390, height=844).page
        expect(page.locator("#wall")).to_be_visible(timeout=SOON_MS)
        page.get_by_role("button", name="Remove all").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Remove 150 clients?")
        expect(dialog).to_contain_text("all clients")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator(".notice")).to_contain_text("Removed 150 clients", timeout=SOON_MS)
        expect(page.locator("#empty")).to_be_visible(timeout=SOON_MS)
        expect(page.locator("#remove-open")).to_be_hidden()


def test_the_server_s_sessions_are_found_by_name(page: Page, visitors: list[str]) -> None:
    page.click("a[data-view=server]")
    expect(page.locator("tr[data-session]")).to_have_count(13, timeout=SOON_MS)
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type(visitors[2])
    expect(page.locator("tr[data-session]")).to_have_count(1, timeout=SOON_MS)
    expect(page.locator("tr[data-session]")).to_contain_text(visitors[2])
    expect(page.locator("#server-body")).to_contain_text("Hosted by this program: 1 found")
    page.keyboard.type(" nobody")
    expect(page.locator("#server-nothing")).to_be_visible(timeout=SOON_MS)
    page.click("#server-nothing button")
    expect(page.locator("tr[data-session]")).to_have_count(13, timeout=SOON_MS)


def test_a_drawer_says_why_its_client_hears_nothing_and_that_it_has_gone(visit: Open, product: Program) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{probe.getsockname()[1]}"
    (made,) = product.ask("POST", "/api/clients", {"name": "short-lived", "target": target})["clients"]
    one = visit(f"{product.page}/?open={made['id']}")
    page = one.page
    expect(page.locator(".lane[data-open=true]")).to_contain_text("short-lived")
    facts = page.locator("#panel-overview .now-facts")
    expect(facts).to_contain_text(f"nothing listens at {target}", timeout=SOON_MS)
    expect(page.locator(".drawer-closes")).to_have_text("no stream yet")
    product.ask("DELETE", f"/api/clients/{made['id']}")
    expect(page.locator("#drawer-gone")).to_be_visible(timeout=SOON_MS)
    expect(page.locator("#drawer-title")).to_have_text("short-lived")
    expect(page.locator("#drawer-change")).to_be_hidden()
    # A question for its past may cross its removal: the browser logs the 404 by itself.
    one.errors[:] = [error for error in one.errors if "404" not in error]
