"""What a receiver hears, on the page: a lane without a handshake, and all pixels in the drawer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.axe import SIZES, look_over
from browser.conftest import Open
from support import program
from support.program import Program


@pytest.fixture(scope="module")
def empty() -> Iterator[Program]:
    with program.ephemeral("--clients", "0") as running:
        yield running


def listening(running: Program, form: str) -> tuple[dict[str, Any], tuple[str, int]]:
    receiver = running.ask("POST", "/api/receivers", {"format": form, "listen": "127.0.0.1:0"})
    host, port = receiver["listen"].rsplit(":", 1)
    return receiver, (host, int(port))


def test_a_colour_from_nc_is_a_lane_and_its_drawer_shows_the_pixel(visit: Open, empty: Program) -> None:
    receiver, address = listening(empty, "text")
    one = visit(empty.page + "/")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"desk:#ff8000\n", address)
        lane = one.page.locator(".lane")
        expect(lane).to_have_count(1)
        expect(lane.locator(".lane-colour code")).to_have_text("#ff8000")
        expect(lane.locator(".lane-name button")).to_contain_text("desk from 127.0.0.1:")
        expect(lane.locator(".lane-remove")).to_be_hidden()
        lane.locator(".lane-name button").click()
        drawer = one.page.locator("#drawer")
        expect(drawer.locator("#received-bytes")).to_contain_text("64 65 73 6b 3a 23")
        expect(drawer.locator("#received-facts")).to_contain_text("cannot be known")
        expect(drawer.locator("#received-facts dd").nth(1)).to_have_text("text")
        expect(drawer.locator("#past-charts .plot").first).to_be_visible()
        look_over(one.page, "#drawer", SIZES[-1:])
        with one.page.expect_response(lambda answer: "/api/history?" in answer.url and "flow=f-" in answer.url) as told:
            pass
        assert told.value.status == 200
        canvas = drawer.locator("#received-picture")
        expect(canvas).to_be_visible()
        canvas.hover()
        expect(drawer.locator("#received-under")).to_have_text("pixel 1, slots 1 to 3: 255, 128, 0")
        pixel = canvas.evaluate("canvas => [...canvas.getContext('2d').getImageData(0, 0, 1, 1).data]")
        assert pixel == [255, 128, 0, 255]
        sock.sendto(b"desk:blue", address)
        expect(drawer.locator("#received-slots")).to_contain_text("00 00 ff")
    empty.ask("DELETE", f"/api/receivers/{receiver['id']}")
    expect(one.page.locator("#drawer-gone")).to_be_visible()
    one.errors[:] = [error for error in one.errors if "404" not in error]  # it may have been asked for meanwhile
    expect(one.page.locator(".lane:visible")).to_have_count(0)


def test_bytes_without_pixels_are_shown_as_bytes(visit: Open, empty: Program) -> None:
    receiver, address = listening(empty, "opaque")
    one = visit(empty.page + "/")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(bytes(range(40)), address)
        one.page.locator(".lane-name button").click()
        expect(one.page.locator("#received-none")).to_be_visible()
        expect(one.page.locator("#received-bytes")).to_contain_text("20 21 22 23 24 25 26 27")
    empty.ask("DELETE", f"/api/receivers/{receiver['id']}")


def test_pixels_are_laid_out_and_named_by_their_slots_from_one(visit: Open, empty: Program) -> None:
    one = visit(empty.page + "/")
    read = "m.describePixel(new Uint8Array([1, 2, 3, 4, 5, 6, 7]), x, 1)"
    assert one.import_("views/received", read, 3) == "pixel 2, slots 4 to 6: 4, 5, 6"
    assert one.import_("views/received", read, 4) == "pixel 2, slots 5 to 7: 5, 6, 7"
    assert one.import_("views/received", read, 1) == "pixel 2, slot 2: 2"
    assert one.import_("views/received", "[1, 10, 170, 2400].map(m.columnsOf)") == [1, 8, 31, 114]
    assert one.import_("views/received", "m.dump(new Uint8Array(17), 1)") == (
        "    1  " + " ".join(["00"] * 16) + "\n   17  00"
    )
