"""Makes the pictures of the README: `python tests/browser/screenshots.py`, with the project installed in this Python.

lanes.png (ten clients, one of them impaired), wall.png (ten thousand, some of them impaired), drawer.png and phone.png
go to tests/browser/pictures/. Every datagram in them was really sent. It takes a minute and a half.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser.conftest import launch
from support import program
from support.program import Program

PICTURES = Path(__file__).parent / "pictures"
IMPAIRED = {
    "loss_ratio": 0.12,
    "delay_ms": 40,
    "jitter_ms": 25,
    "reorder_ratio": 0.03,
    "duplicate_ratio": 0.04,
    "seed": 7,
}
LOSSY = {"loss_ratio": 0.2, "seed": 7}
GONE = {"blackout": True}
CROWD = 10_000
CROWD_RATE_HZ = 2
NAMES = [f"{place}-{number:02d}" for place in ("north", "east", "south") for number in (1, 2, 3)]


def wait_for_pictures(page: Page, seconds: float) -> None:
    """Until so much has been seen."""
    page.wait_for_function("(n) => performance.now() > n", arg=seconds * 1000)


def take(page: Page, name: str) -> None:
    path = PICTURES / name
    page.wait_for_timeout(1000)
    page.screenshot(path=path)
    print(f"{name}: {path.stat().st_size / 1000:.0f} kB")


def open_page(browser: Browser, address: str, width: int, height: int, *, dark: bool = False) -> Page:
    scheme: Literal["dark", "light"] = "dark" if dark else "light"
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(address)
    return page


def ten_clients(browser: Browser, served: Program) -> None:
    for name in NAMES:
        served.ask("POST", "/api/clients", {"name": name, "rate_hz": 10})
    silent = served.ask("POST", "/api/clients", {"name": "west-01", "rate_hz": 10})["clients"][0]
    lossy = next(each for each in served.get("/api/clients")["clients"] if each["name"] == "north-02")
    page = open_page(browser, served.page + "/", 1280, 800)
    phone = open_page(browser, served.page + "/", 390, 844, dark=True)
    wait_for_pictures(page, 10)
    served.ask("PUT", f"/api/links/{lossy['id']}", IMPAIRED)
    wait_for_pictures(page, 20)
    served.ask("PUT", f"/api/links/{silent['id']}", {"blackout": True})
    wait_for_pictures(page, 27)
    take(page, "lanes.png")
    take(phone, "phone.png")
    drawer = open_page(browser, f"{served.page}/?open={lossy['id']}", 1280, 800, dark=True)
    wait_for_pictures(drawer, 25)
    take(drawer, "drawer.png")


def ten_thousand(browser: Browser) -> None:
    words = ("--clients", str(CROWD), "--rate-hz", str(CROWD_RATE_HZ))
    with program.ephemeral(*words) as served:
        page = open_page(browser, f"{served.page}/?view=wall", 1280, 800, dark=True)
        page.wait_for_function(
            "async () => (await (await fetch('/api/clients?state=live&limit=1')).json()).total === 1e4"
        )
        for offset in range(0, CROWD, 1000):
            clients = served.get(f"/api/clients?offset={offset}")["clients"]
            for link, some in ((LOSSY, clients[7::60]), (GONE, clients[11::250])):
                for client in some:
                    served.ask("PUT", f"/api/links/{client['id']}", link)
        wait_for_pictures(page, 30)
        take(page, "wall.png")


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as data:
        browser = launch(playwright.chromium)
        if browser is None:
            sys.exit("no browser: set BROWSER_PATH, or install Chromium, Chrome or Edge")
        with program.serving(Path(data), "--clients", "0") as served:
            ten_clients(browser, served)
        ten_thousand(browser)
        browser.close()


if __name__ == "__main__":
    main()
