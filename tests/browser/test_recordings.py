"""A recording is begun, seen to grow, ended, inspected, downloaded and deleted on the page; a dropped file is read."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from browser.axe import SIZES, look_over
from browser.conftest import DEADLINE_MS, Visit
from support import captures
from support.captures import enhanced, interface, option, section
from support.program import Program

FILE = (
    section()
    + interface(options=option(9, b"\x09"))
    + b"".join(enhanced(captures.frame(b"%d" % at), at * 1_000_000) for at in range(500))
)
DROP = """([name, text]) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], name));
    for (const kind of ["dragenter", "dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: carried }));
    }
}"""


@pytest.fixture
def page(home: Visit, product: Program) -> Iterator[Page]:
    yield home.page
    for kind in ("recordings", "replays", "captures"):
        for one in httpx.get(f"{product.page}/api/{kind}").json()[kind]:
            httpx.delete(f"{product.page}/api/{kind}/{one['id']}")


def drop(page: Page, name: str, data: bytes) -> None:
    page.evaluate(DROP, [name, base64.b64encode(data).decode()])


def test_a_recording_grows_is_inspected_downloaded_and_deleted(page: Page) -> None:
    page.click("#record")
    size = page.locator("#record span")
    expect(size).to_have_text(re.compile(r"Stop recording · [1-9][0-9.]* [kM]B"), timeout=DEADLINE_MS)
    page.click("#record")
    expect(size).to_have_text("Record", timeout=DEADLINE_MS)
    page.click("#recordings-open")
    row = page.locator("#recordings-list li")
    expect(row).to_have_count(1)
    expect(row).to_contain_text(re.compile("[1-9][0-9]* packets? · ended"))
    with page.expect_download() as download:
        row.locator("a").first.click()
    assert download.value.path().read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    row.get_by_role("button", name="Inspect").click()
    expect(page.locator("#capture-facts")).to_contain_text("sender → receiver", timeout=3 * DEADLINE_MS)
    expect(page.locator("#capture tbody tr").first).to_contain_text("measured")
    look_over(page, "#capture", SIZES[-1:])
    page.click("#capture .close")
    row.get_by_role("button", name="Delete the recording").click()
    expect(page.locator("#recordings-none")).to_be_visible()


def test_a_dropped_capture_is_read_and_sent_again(page: Page, home: Visit) -> None:
    drop(page, "theirs.pcapng", FILE)
    expect(page.locator("#capture-facts")).to_have_text("1 flow in 500 packets", timeout=3 * DEADLINE_MS)
    expect(page.locator("#capture-title")).to_have_text("theirs.pcapng")
    expect(page.locator("#capture tbody tr")).to_contain_text("500")
    page.fill("#capture [name=target]", "8.8.8.8:5000")
    page.click("#capture [type=submit]")
    expect(page.locator("#capture [data-error=target]")).to_contain_text("--allow-target")
    assert "403" in home.errors.pop(), "the browser logs what is refused"
    page.fill("#capture [name=target]", "127.0.0.1:5004")
    page.fill("#capture [name=speed]", "100")
    page.click("#capture [type=submit]")
    expect(page.locator("#notices")).to_contain_text("Replaying to")
    page.click("#capture .close")
    page.click("#recordings-open")
    expect(page.locator("#replays-list li")).to_contain_text("→ 127.0.0.1:5004")
    expect(page.locator("#replays-list li")).to_contain_text("ended", timeout=DEADLINE_MS)


def test_a_file_that_is_no_capture_is_said_to_be_none(page: Page, home: Visit) -> None:
    drop(page, "holiday.jpg", b"\xff\xd8\xff\xe0 and so on")
    expect(page.locator("#capture-facts")).to_have_text(
        "at byte 0: neither a pcap nor a pcapng file", timeout=3 * DEADLINE_MS
    )
    expect(page.locator("#capture form")).to_be_hidden()
    assert "422" in home.errors.pop(), "the browser logs what is refused"
