"""Everybody can use the page: axe finds nothing, it reflows at 320 px, and every function has a key."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.axe import SIZES, look_over
from browser.conftest import Open, Visit
from support import program
from support.program import Program


@pytest.fixture(scope="module")
def page(browser: Browser, product: Program) -> Iterator[Page]:
    """One page that is led from screen to screen."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(product.page + "/")
    page.wait_for_selector(".lane[data-state=live]")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"connect name=stranger", product.udp)
        yield page
        stranger.sendto(b"disconnect", product.udp)
    context.close()


def leave(page: Page) -> None:
    for dialog in page.query_selector_all("dialog[open] .close, #explain:not([hidden]) .close"):
        dialog.click()
    if page.query_selector("#flash-warning[open]"):
        page.keyboard.press("Escape")
    if page.get_attribute("#pause", "aria-pressed") == "true":
        page.click("#pause")
    page.fill("#find", "")
    if page.is_visible("#drawer"):
        page.click("#drawer-close")
    if page.is_visible("#run"):
        page.click("#run-remove")
        page.wait_for_selector("#run", state="hidden")


def view(page: Page, name: str) -> None:
    page.click(f"a[data-view={name}]")
    page.wait_for_selector(f"#{name}:not([hidden])")


def lanes(page: Page) -> None:
    view(page, "lanes")


def wall(page: Page) -> None:
    view(page, "wall")


def server(page: Page) -> None:
    view(page, "server")
    page.wait_for_selector("tr[data-session]")


def drawer(tab: str) -> Callable[[Page], None]:
    def show(page: Page) -> None:
        view(page, "lanes")
        page.click(".lane-name button >> nth=0")
        page.click(f"#tab-{tab}")
        page.wait_for_selector(f"#panel-{tab}:not([hidden])")
        if tab == "datagrams":
            page.wait_for_selector(".datagrams tbody tr")

    return show


def endpoints(page: Page) -> None:
    view(page, "endpoints")
    page.click("[data-kind=receivers] .endpoints-head button")
    page.fill("#add [name=listen]", "127.0.0.1:0")
    page.click("#add form:visible [type=submit]")
    page.wait_for_selector("[data-kind=receivers] tbody tr")


def add_sender(page: Page) -> None:
    view(page, "endpoints")
    page.click("[data-kind=senders] .endpoints-head button")
    page.click("#add form:visible [type=submit]")
    page.wait_for_selector("#add [aria-invalid=true]")


def dialog(opener: str) -> Callable[[Page], None]:
    def show(page: Page) -> None:
        view(page, "lanes")
        page.click(opener)
        page.wait_for_selector("dialog[open]")

    return show


def change(page: Page) -> None:
    drawer("overview")(page)
    page.click("#drawer-change")
    page.fill("#change [name=rate_hz]", "5000")
    page.click("#change [type=submit]")
    page.wait_for_selector("#change [aria-invalid=true]")


def find_sessions(page: Page) -> None:
    server(page)
    page.fill("#find", "client-003")
    page.wait_for_selector("text=Hosted by this program: 1 found")


def session(page: Page) -> None:
    server(page)
    page.click("tr[data-session] >> text=stranger")
    page.wait_for_selector("#session-facts dd >> text=Send side only")


def explanation(page: Page) -> None:
    lanes(page)
    page.click("#ledger [data-term=lost]")
    page.wait_for_selector("#explain:not([hidden])")


def run(page: Page) -> None:
    lanes(page)
    page.click("#scenario-open")
    page.fill("#scenario-text", "duration_s = 1\nexpect = ['sent < 0', 'sent >= 0']\n[[timeline]]\nat_s = 0\nlink = {}")
    page.click("#scenario [type=submit]")
    page.wait_for_selector("#run[data-verdict=false], #run-state:has-text('no verdict')")


def nobody(page: Page) -> None:
    lanes(page)
    page.fill("#find", "nobody")
    page.wait_for_selector("#lanes-nothing:not([hidden])")


def paused(page: Page) -> None:
    lanes(page)
    page.click("#pause")
    page.wait_for_selector("#banner:not([hidden])")


def flight(page: Page) -> None:
    drawer("flight")(page)
    page.wait_for_selector("#flight-facts:has-text('Point at one')")


def happened(page: Page) -> None:
    drawer("overview")(page)
    for fold in ("#past-table", "details:has(#past-events)"):
        page.eval_on_selector(fold, "fold => { fold.open = true; }")
    page.wait_for_selector("#past-table tbody tr")
    page.fill("#compare", "nobody of this name")
    page.press("#compare", "Enter")
    page.wait_for_selector("#compare-why:has-text('No client')")


def flash_warning(page: Page) -> None:
    lanes(page)
    page.get_by_role("radio", name="True").click()
    page.wait_for_selector("#flash-warning[open]")


SCREENS: dict[str, tuple[Callable[[Page], None], str | None]] = {
    # What the screen adds to one that is looked at whole is looked at by itself.
    "lanes": (lanes, None),
    "wall": (wall, None),
    "server": (server, None),
    "overview": (drawer("overview"), "#drawer"),
    "flight": (flight, "#panel-flight"),
    "what happened": (happened, "#past"),
    "datagrams": (drawer("datagrams"), "#drawer"),
    "link": (drawer("link"), "#drawer"),
    "code": (drawer("code"), "#drawer"),
    "add": (dialog("#add-open"), "#add"),
    "endpoints": (endpoints, None),
    "add a sender": (add_sender, "#add"),
    "link for everybody": (dialog("#link-open"), "#link-dialog"),
    "scenario": (dialog("#scenario-open"), "#scenario"),
    "run": (run, "#run"),
    "help": (dialog("#help-open"), "#help"),
    "recordings": (dialog("#recordings-open"), "#recordings"),
    "flash warning": (flash_warning, "#flash-warning"),
    "change": (change, "#change"),
    "remove": (dialog("#remove-open"), "#remove"),
    "find": (find_sessions, None),
    "nobody found": (nobody, None),
    "session": (session, "#drawer"),
    "explanation": (explanation, "#explain"),
    "paused": (paused, None),
}


MOMENTS = ("find", "nobody found", "paused", "what happened", "recordings", "flash warning")
"""Of a view, or in a dialog, that is looked at in all sizes besides."""


ELSEWHERE = {"capture": "test_recordings", "panel-relayed": "test_relays", "panel-received": "test_received"}
"""What these need is made in the tests of it, which look them over as well."""


def test_every_screen_is_looked_over(page: Page) -> None:
    script = "() => [...document.querySelectorAll('dialog, .panel[id^=panel-], .view')].map(({ id }) => id)"
    known = {root.removeprefix("#") for _, root in SCREENS.values() if root} | set(SCREENS)
    known |= {f"panel-{name}" for name in known} | set(ELSEWHERE)
    parts = set(page.evaluate(script))
    assert parts - known == set()
    assert set(ELSEWHERE) <= parts


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_and_nothing_sticks_out(page: Page, screen: str) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    leave(page)
    show, root = SCREENS[screen]
    show(page)
    look_over(page, root, SIZES if screen not in MOMENTS else SIZES[-1:])


def test_axe_finds_nothing_where_there_is_nothing_and_where_the_server_is_gone(page: Page, tmp_path: Path) -> None:
    with page.context.browser.new_context() as context, program.serving(tmp_path, "--clients", "0") as served:
        page = context.new_page()
        page.goto(served.page + "/")
        expect(page.locator("#empty")).to_be_visible()
        look_over(page, None)
        served.ask("POST", "/api/clients", {"count": 1})
        expect(page.locator(".lane[data-state=live]")).to_be_visible()
        served.end(signal.SIGKILL)
        expect(page.locator("html")).to_have_attribute("data-stale", "true")
        look_over(page, None)


def test_a_link_holds_the_view_the_filter_and_the_open_client(home: Visit, visit: Open, product: Program) -> None:
    home.page.fill("#find", "client-00")
    home.page.click(".lane-name button >> text=client-003")
    home.page.click("#tab-datagrams")
    shared = visit(product.page + "/" + home.page.evaluate("() => location.search"))
    expect(shared.page.locator("#drawer-title")).to_have_text("client-003")
    expect(shared.page.locator("#tab-datagrams")).to_have_attribute("aria-selected", "true")
    expect(shared.page.locator("#find")).to_have_value("client-00")
    expect(shared.page.locator(".lane")).to_have_count(9)
    home.page.go_back()
    expect(home.page.locator("#drawer")).to_be_hidden()


def test_the_keyboard_alone_reaches_every_function(home: Visit) -> None:
    page = home.page
    press = page.keyboard.press
    press("/")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type("client-01")
    expect(page.locator(".lane")).to_have_count(1)
    for _ in range(9):
        press("Backspace")
    expect(page.locator(".lane")).to_have_count(10)
    page.locator(".lane-name button[tabindex='0']").focus()
    press("ArrowDown")
    press("End")
    expect(page.locator(".lane-name button:focus")).to_have_text("client-010")
    press("Home")
    press("ArrowDown")
    press("Enter")
    expect(page.locator("#drawer-title")).to_have_text("client-002")
    page.locator("#tab-overview").focus()
    press("ArrowRight")
    expect(page.locator("#panel-flight")).to_be_visible()
    press("ArrowRight")
    expect(page.locator("#panel-datagrams")).to_be_visible()
    press("ArrowRight")
    expect(page.locator("#panel-link")).to_be_visible()
    press("End")
    expect(page.locator("#panel-code")).to_be_visible()
    press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.locator(".lane-name button:focus")).to_have_text("client-002")
    press("p")
    expect(page.locator("#feed-pill")).to_have_text("Paused")
    press("p")
    expect(page.locator("#feed-pill")).to_have_text("Live")
    press("2")
    page.locator("#wall-cell").focus()
    press("ArrowRight")
    expect(page.locator("#wall-cell")).to_have_attribute("aria-label", re.compile("^client-002 · "))
    press("l")
    expect(page.locator("#lens")).to_have_value("loss")
    press("Enter")
    expect(page.locator("#drawer-title")).to_have_text("client-002")
    press("Escape")
    press("?")
    expect(page.locator("#help")).to_be_visible()
    page.uncheck("#shortcuts")
    press("Escape")
    press("1")
    expect(page.locator("#wall")).to_be_visible()  # single keys are off now


def test_a_screen_reader_finds_its_way_without_the_canvas(home: Visit) -> None:
    page = home.page
    expect(page.get_by_role("grid", name="Clients")).to_have_attribute("aria-rowcount", "11")
    row = page.get_by_role("row").filter(has=page.get_by_role("button", name="client-001", exact=True))
    expect(row.get_by_role("img")).to_have_attribute("aria-label", re.compile("arrived"))
    expect(row.get_by_role("gridcell").filter(has_text="live")).to_have_count(1)
    page.get_by_role("link", name="Wall").click()
    grid = page.get_by_role("grid", name="Clients, one tile each")
    expect(grid.get_by_role("gridcell")).to_have_count(1)
    expect(grid.get_by_role("gridcell")).to_have_attribute("aria-label", re.compile("live"))
    page.get_by_role("button", name="Add clients").first.click()
    for name in ("How many", "Name", "Datagrams per second", "Target"):
        expect(page.get_by_role("dialog", name="Add clients").get_by_label(re.compile(f"^{name}"))).to_be_visible()


def test_less_motion_means_one_hard_step_a_second(visit: Open, product: Program) -> None:
    one = visit(product.page + "/", reduced_motion="reduce")
    assert one.import_("main", "m.clock.tickMs") == 1000


def test_the_page_says_so_where_a_module_fails(browser: Browser, product: Program) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/modules/views/lanes.js", lambda route: route.abort())
        page.goto(product.page + "/")
        expect(page.locator("#failed")).to_be_visible()
