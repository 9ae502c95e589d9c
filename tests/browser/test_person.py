"""What a person does in front of the page, with the real program behind it."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser.conftest import DEADLINE_MS, Open, Visit
from support import program
from support.program import Program
from udprism.wire import measured as wire

SOON_MS = DEADLINE_MS


@pytest.fixture
def page(home: Visit) -> Page:
    return home.page


def add(page: Page, **fields: str) -> None:
    page.click("#add-open")
    for name, value in fields.items():
        page.fill(f"#add [name={name}]", value)
    page.click("#add [type=submit]")


def test_three_clients_are_added_and_seen_and_the_adding_is_undone(page: Page) -> None:
    expect(page.locator(".lane")).to_have_count(10)
    add(page, count="3", name="visitor", rate_hz="20")
    expect(page.locator(".lane")).to_have_count(13, timeout=SOON_MS)
    expect(page.locator(".lane", has_text="visitor").locator(".lane-state")).to_have_text(["live"] * 3, timeout=SOON_MS)
    expect(page.locator("#count-clients")).to_have_text("13")
    page.click(".notice >> text=Undo")
    expect(page.locator(".lane")).to_have_count(10, timeout=SOON_MS)


def test_what_the_server_refuses_is_said_beside_its_field(home: Visit) -> None:
    page = home.page
    add(page, rate_hz="5000")
    expect(page.locator("#add [data-error=rate_hz]")).to_contain_text("1000")
    expect(page.locator("#add [name=rate_hz]")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#add")).to_be_visible()
    home.errors[:] = [error for error in home.errors if "422" not in error]  # the browser notes each refusal


def test_a_removed_client_can_be_brought_back(page: Page) -> None:
    page.get_by_role("button", name="Remove client-005").click()
    expect(page.locator(".lane")).to_have_count(9, timeout=SOON_MS)
    page.click(".notice >> text=Undo")
    expect(page.locator(".lane", has_text="client-005").locator(".lane-state")).to_have_text("live", timeout=SOON_MS)


@pytest.fixture
def netcat(product: Program) -> Iterator[subprocess.Popen[str]]:
    """`echo connect | nc -u HOST PORT`, as somebody would in a second terminal."""
    found = shutil.which("nc")
    if found is None:
        pytest.skip("nc is not installed")
    host, port = product.udp
    process = subprocess.Popen([found, "-u", host, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("connect\n")
    process.stdin.flush()
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


@pytest.mark.peer
def test_somebody_s_netcat_appears(page: Page, netcat: subprocess.Popen[str]) -> None:
    assert netcat.stdout is not None
    assert re.fullmatch("[a-z]+\n", netcat.stdout.readline())
    page.click("a[data-view=server]")
    raw = page.locator("tr[data-session]", has_text="raw, plain")
    expect(raw).to_have_count(1, timeout=SOON_MS)
    expect(raw).to_contain_text("send side only")
    expect(raw).to_contain_text("joined")
    raw.click()
    expect(page.locator("#session-facts")).to_contain_text("a plain stream has no sequence numbers", timeout=SOON_MS)
    expect(page.locator("#tab-datagrams")).to_be_hidden()
    page.click("#drawer-remove")
    expect(page.locator(".notice", has_text="Session ended")).to_be_visible()


def test_loss_on_one_client_is_seen_as_gaps_in_the_ledger_and_under_needs_attention(page: Page) -> None:
    page.click(".lane-name button >> text=client-004")
    page.click("#tab-link")
    page.locator("#panel-link").get_by_label("Loss", exact=True).last.fill("40")
    lane = page.locator(".lane", has_text="client-004")
    expect(lane.locator(".ribbon")).to_have_attribute("aria-label", re.compile(r"[1-9]\d* lost"), timeout=SOON_MS)
    expect(page.locator("#attention")).to_contain_text(re.compile(r"client-004\s+loses"), timeout=SOON_MS)
    expect(page.locator("#link-badge")).to_contain_text("1 client")
    expect(page.locator("#count-losing")).to_have_text("1")
    page.click("#tab-overview")
    number = "#panel-overview [data-number={}]"
    expect(page.locator(number.format("lost"))).to_have_text(re.compile("^[1-9]"), timeout=SOON_MS)
    expect(page.locator(".drawer-closes")).to_have_text("✓ closes")
    expect(page.locator(number.format("unexplained"))).to_have_text("0")
    page.click("#tab-datagrams")
    expect(page.locator(".datagrams tr[data-fate=lost]").first).to_contain_text("link", timeout=SOON_MS)
    page.click("#link-open")
    page.click("#link-others button")
    expect(page.locator("#link-badge")).to_be_hidden(timeout=SOON_MS)


def test_what_no_honest_sender_does_is_shown_beside_the_ledger(page: Page, product: Program) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(program.DEADLINE_S)
        body = {"name": "odd", "target": "127.0.0.1:{1}".format(*server.getsockname()), "mode": "measured"}
        (client,) = product.ask("POST", "/api/clients", body)["clients"]
        _, address = server.recvfrom(2048)
        tomorrow_ns = time.time_ns() + 86_400 * 10**9
        for sequence in (0, 1, 1_000_000, 1_000_001):
            server.sendto(wire.encode_colour(wire.Colour(7, sequence, tomorrow_ns, b"\xff\0\0")), address)
        page.click(".lane-name button >> text=odd", timeout=SOON_MS)
        number = "#panel-overview [data-number={}]"
        expect(page.locator(number.format("jumps"))).to_have_text("1", timeout=SOON_MS)
        expect(page.locator(number.format("negative_delays"))).to_have_text("3")
        expect(page.locator("#beyond-window")).to_be_hidden()
        product.ask("DELETE", f"/api/clients/{client['id']}")


def test_a_link_that_cannot_be_is_refused_beside_its_slider(home: Visit) -> None:
    page = home.page
    page.click("#link-open")
    page.locator("#link-dialog").get_by_label("Reorder", exact=True).last.fill("10")
    expect(page.locator("#link-dialog [data-error=reorder_ratio]")).to_contain_text("delay_ms", timeout=SOON_MS)
    home.errors[:] = [error for error in home.errors if "422" not in error]


def test_a_profile_sets_the_link_of_everybody_and_clear_takes_it_away(page: Page) -> None:
    page.click("#link-open")
    page.select_option("#link-dialog [name=profile]", label="Home Wi-Fi")
    expect(page.locator("#link-badge")).to_contain_text("all clients", timeout=SOON_MS)
    expect(page.locator("#link-dialog .profile-models")).to_contain_text("access point")
    page.click("#link-dialog .link-clear")
    expect(page.locator("#link-badge")).to_be_hidden(timeout=SOON_MS)


def test_the_bytes_of_a_datagram_name_their_fields(page: Page) -> None:
    page.click(".lane-name button >> text=client-002")
    page.click("#tab-datagrams")
    page.click(".datagrams tbody tr >> nth=2")
    expect(page.locator("#hold")).to_be_checked()
    expect(page.locator(".bytes button")).to_have_count(8)
    page.hover(".bytes button >> nth=5")
    expect(page.locator(".byte-about")).to_contain_text("sequence number")
    page.locator(".bytes button >> nth=6").focus()
    expect(page.locator(".byte-about")).to_contain_text("sent at")
    number = page.locator(".datagrams .is-chosen th").inner_text()
    expect(page.locator(".byte-which")).to_contain_text(f"Datagram {number}, 23 bytes")


def test_a_paused_page_says_so_and_goes_on(page: Page) -> None:
    page.click("#pause")
    expect(page.locator("#banner")).to_contain_text("Paused at")
    before = page.locator("[data-ledger=sent]").inner_text()
    frames = "async () => (await import('/modules/main.js')).world.frames"
    asked = page.evaluate(frames)
    page.wait_for_function("(n) => performance.now() > n", arg=page.evaluate("() => performance.now()") + 1000)
    assert page.evaluate(frames) <= asked + 2
    assert page.locator("[data-ledger=sent]").inner_text() == before
    page.click("#banner button")
    expect(page.locator("[data-ledger=sent]")).not_to_have_text(before)


def test_a_pause_keeps_one_moment_in_which_anything_can_be_opened(page: Page) -> None:
    page.wait_for_function("() => document.querySelectorAll('.lane[data-state=live]').length > 3")
    page.click("#pause")
    expect(page.locator("#banner")).to_contain_text("Paused at")
    page.wait_for_function("async () => (await import('/modules/main.js')).world.rows.size > 3")
    cells = "async () => [...(await import('/modules/main.js')).world.rows.values()].map((row) => row.newest).join()"
    kept = page.evaluate(cells)
    for place in (1, 2):
        page.locator(".lane-name button").nth(place).click()
        expect(page.locator("#panel-overview [data-number=received]")).not_to_have_text("–")
        expect(page.locator("#panel-overview .now-colour")).to_have_text(
            page.locator(".lane").nth(place).locator(".lane-colour b").inner_text()
        )
    received = page.locator("#panel-overview [data-number=received]").inner_text()
    page.click("#tab-datagrams")
    expect(page.locator(".datagrams tbody tr")).not_to_have_count(0)
    newest = page.locator(".datagrams tbody tr").first.get_attribute("data-sequence")
    page.click("a[data-view=wall]")
    expect(page.locator("#wall-canvas")).to_be_visible()
    page.click("a[data-view=server]")
    expect(page.locator("#server-body tbody tr")).not_to_have_count(0)
    page.click("a[data-view=lanes]")
    page.click("#tab-overview")
    expect(page.locator("#panel-overview [data-number=received]")).to_have_text(received)
    page.click("#tab-datagrams")
    assert page.locator(".datagrams tbody tr").first.get_attribute("data-sequence") == newest
    assert page.evaluate(cells) == kept
    page.keyboard.press("Escape")
    page.click("#pause")
    expect(page.locator("#banner")).to_be_hidden()
    page.wait_for_function("([kept]) => import('/modules/main.js').then((m) => m.world.rows.size > 0)", arg=[kept])


def test_a_plain_client_has_no_rate_of_its_own_and_what_was_removed_is_told(page: Page, product: Program) -> None:
    departed = product.get("/api/ledger")["departed"]["sent"]
    [plain] = product.ask("POST", "/api/clients", {"name": "plain-one", "mode": "plain", "rate_hz": 123})["clients"]
    [brief] = product.ask("POST", "/api/clients", {"name": "brief", "mode": "measured", "rate_hz": 100})["clients"]
    page.locator(".lane-name button", has_text="plain-one").click()
    rate = page.locator("#panel-overview [data-number=rate_hz]")
    expect(rate).to_have_text("the server’s default, because a plain stream cannot choose")
    expect(page.locator("#plain-note")).to_be_visible()
    lane = page.locator(".lane", has_text="brief")
    expect(lane).to_have_attribute("data-state", "live")
    page.click("#drawer-close")  # what is open is asked for, and the browser notes that it is gone
    page.wait_for_load_state("networkidle")
    for one in (plain, brief):
        product.ask("DELETE", f"/api/clients/{one['id']}")
    expect(lane).to_have_count(0)
    told = page.locator("#ledger-departed")
    expect(told).to_have_text(re.compile(r"^sent [1-9][\d,]*, lost [\d,]+$"))
    assert product.get("/api/ledger")["departed"]["sent"] > departed


def test_a_number_explains_itself(page: Page) -> None:
    page.click("#ledger [data-term=lost]")
    expect(page.locator("#explain")).to_be_visible()
    expect(page.locator("#explain .explain-body")).not_to_contain_text("no definition")
    page.keyboard.press("Escape")
    expect(page.locator("#explain")).to_be_hidden()
    expect(page.locator("#ledger [data-term=lost]")).to_be_focused()


def test_every_term_on_the_page_is_defined(page: Page) -> None:
    defined = page.evaluate(
        "async () => (await (await fetch('/api/definitions')).json()).definitions.map((each) => each.id)"
    )
    asked = page.evaluate("() => [...document.querySelectorAll('[data-term]')].map((each) => each.dataset.term)")
    assert set(asked) <= set(defined)


def test_a_dead_server_leaves_a_stale_picture_that_says_so_and_comes_back(browser: Browser, tmp_path: Path) -> None:
    with browser.new_context() as context, program.serving(tmp_path) as first:
        page = context.new_page()
        page.goto(first.page + "/")
        page.locator(".lane[data-state=live] .lane-name button").first.click()
        expect(page.locator(".now-facts")).to_contain_text("last datagram")
        assert first.end(signal.SIGKILL) != 0
        expect(page.locator("#banner")).to_contain_text(re.compile(r"As of \d\d:\d\d:\d\d"), timeout=SOON_MS)
        expect(page.locator("#banner")).to_contain_text("retrying in", timeout=SOON_MS)
        expect(page.locator("html")).to_have_attribute("data-stale", "true")
        expect(page.locator(".lane")).to_have_count(10)
        expect(page.locator(".now-facts")).to_contain_text("live in the last picture; its state since then is unknown")
        http = first.page.removeprefix("http://")
        with program.running("serve", "--udp", "127.0.0.1:0", "--http", http, "--data", str(tmp_path)):
            page.evaluate("() => dispatchEvent(new Event('online'))")  # what the browser says when the network is back
            expect(page.locator(".notice")).to_contain_text("was restarted", timeout=SOON_MS)
            expect(page.locator("#feed-pill")).to_have_text("Live", timeout=SOON_MS)
            expect(page.locator(".lane[data-state=live]")).to_have_count(10, timeout=SOON_MS)
            expect(page.locator("#banner")).to_be_hidden()


def test_a_new_token_after_a_restart_is_asked_for_and_leads_back_to_the_view(browser: Browser, tmp_path: Path) -> None:
    with browser.new_context() as context, program.serving(tmp_path, UDPRISM_TOKEN="first") as first:
        page = context.new_page()
        page.goto(f"{first.page}&view=wall")
        page.wait_for_selector("html[data-feed=live]")
        first.end(signal.SIGKILL)
        http = first.page.partition("/?")[0].removeprefix("http://")
        again = ("serve", "--udp", "127.0.0.1:0", "--http", http, "--data", str(tmp_path))
        with program.running(*again, UDPRISM_TOKEN="second"):
            page.evaluate("() => dispatchEvent(new Event('online'))")
            expect(page.locator("#banner")).to_contain_text("the server requires its token", timeout=SOON_MS)
            page.get_by_role("button", name="Enter the token").click()
            page.get_by_label("Token").fill("second")
            page.get_by_role("button", name="Open").click()
            page.wait_for_selector("html[data-feed=live]")
            assert page.url == f"http://{http}/?view=wall"


def test_the_viewer_over_the_limit_is_told_so(browser: Browser) -> None:
    with browser.new_context() as context, program.ephemeral(UDPRISM_MAX_VIEWERS="1") as served:
        first, second = context.new_page(), context.new_page()
        first.goto(served.page)
        first.wait_for_selector("html[data-feed=live]")
        second.goto(served.page)
        expect(second.locator("#banner")).to_contain_text("the maximum number of pages is open", timeout=SOON_MS)
        first.close()
        second.wait_for_selector("html[data-feed=live]")


def test_an_empty_page_tells_how_to_begin(visit: Open, tmp_path: Path) -> None:
    with program.serving(tmp_path, "--clients", "0") as empty:
        page = visit(empty.page + "/").page
        expect(page.locator("#empty")).to_contain_text(f"nc -u {empty.udp[0]} {empty.udp[1]}")
        page.click("#empty-add")
        page.click("#add [type=submit]")
        expect(page.locator(".lane[data-state=live]")).to_have_count(1, timeout=SOON_MS)
        expect(page.locator("#lanes-table")).to_have_attribute("data-alone", "true")
