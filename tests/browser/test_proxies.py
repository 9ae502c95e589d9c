"""The page as people reach it: through a real nginx, under another name, port and path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from browser.conftest import DEADLINE_MS, launch
from support import nginx, program
from support.readme import block

pytestmark = pytest.mark.peer

TOKEN = "correct horse"
WEBSOCKET = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"


@dataclass
class Shape:
    """How somebody's nginx leads to us, and with what we were started for it."""

    name: str
    location: str
    address: str
    """PORT stands for nginx's."""
    words: tuple[str, ...] = ("--allow-host", "lab.example")

    @property
    def tls(self) -> bool:
        return self.address.startswith("https")


SHAPES = (
    Shape("the README's lines", block("nginx"), "http://lab.example:PORT/lab/"),
    Shape(
        "name and port passed on",
        "location / { proxy_pass http://127.0.0.1:8000; proxy_set_header Host $http_host; " + WEBSOCKET + " }",
        "http://lab.example:PORT/",
    ),
    Shape(
        "default port, left out of Host",
        "location / { proxy_pass http://127.0.0.1:8000; proxy_set_header Host $host; " + WEBSOCKET + " }",
        "https://lab.example/",
    ),
    Shape(
        "default port, written into Host",
        "location / { proxy_pass http://127.0.0.1:8000; proxy_set_header Host $host:443; " + WEBSOCKET + " }",
        "https://lab.example/",
    ),
    Shape(
        "sub-path left on",
        "location /lab/ { proxy_pass http://127.0.0.1:8000; proxy_set_header Host $http_host; " + WEBSOCKET + " }",
        "http://lab.example:PORT/lab/",
        ("--allow-host", "lab.example", "--http-path", "/lab"),
    ),
    Shape(
        "Host not passed on",
        "location /lab/ { proxy_pass http://127.0.0.1:8000/; " + WEBSOCKET + " }",
        "https://lab.example/lab/",
        ("--allow-origin", "https://lab.example"),
    ),
)
HOST_LOST = Shape("neither told nor passed on", SHAPES[-1].location, "https://lab.example/lab/", ())
NO_UPGRADE = Shape(
    "no websocket",
    "location / { proxy_pass http://127.0.0.1:8000; proxy_set_header Host $http_host; }",
    "http://lab.example:PORT/",
)


@pytest.fixture
def through(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[BrowserContext, str]]:
    """A browser to which lab.example is nginx, and the page's address there; the parameter is the shape."""
    shape: Shape = request.param
    with program.ephemeral("--clients", "2", *shape.words, UDPRISM_TOKEN=TOKEN) as served:
        ours = served.page.partition("?")[0].rstrip("/").removeprefix("http://")
        location = shape.location.replace("127.0.0.1:8000", ours)
        assert ours in location
        with nginx.serving(tmp_path, location, tls=shape.tls) as port:
            there = f"MAP lab.example:{443 if shape.tls else port} 127.0.0.1:{port}"
            chromium = launch(browser.browser_type, f"--host-resolver-rules={there}")
            assert chromium is not None
            context = chromium.new_context(ignore_https_errors=True)
            context.set_default_timeout(DEADLINE_MS)
            yield context, shape.address.replace("PORT", str(port))
            chromium.close()


def is_fault(said: ConsoleMessage, address: str) -> bool:
    """Whether it is the page's. Beyond loopback, Chromium complains of one header where there is no TLS."""
    of_plain_http = address.startswith("http:") and "Cross-Origin-Opener-Policy" in said.text
    return said.type in ("error", "warning") and not of_plain_http


def signed_in(context: BrowserContext, address: str, *, view: str = "lanes") -> Page:
    """The page, by the form that asks for the token."""
    page = context.new_page()
    page.goto(f"{address}?view={view}")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button").click()
    page.wait_for_url(f"{address}?view={view}")
    return page


@pytest.mark.parametrize("through", SHAPES, indirect=True, ids=lambda shape: shape.name)
def test_page_and_websocket_work_through_nginx(through: tuple[BrowserContext, str]) -> None:
    context, address = through
    errors: list[str] = []
    page = signed_in(context, address)
    page.on("console", lambda said: errors.append(said.text) if is_fault(said, address) else None)
    page.on("request", lambda asked: None if asked.url.startswith(address) else errors.append(asked.url))
    page.reload()
    expect(page.locator(".lane[data-state=live]")).to_have_count(2, timeout=DEADLINE_MS)
    page.click("#add-open")
    page.click("#add button[type=submit]")
    expect(page.locator(".lane[data-state=live]")).to_have_count(3, timeout=DEADLINE_MS)
    assert not errors


@pytest.mark.parametrize("through", SHAPES[:1], indirect=True, ids=lambda shape: shape.name)
def test_link_in_a_chat_leads_to_the_view_that_it_names(through: tuple[BrowserContext, str]) -> None:
    context, address = through
    signed_in(context, address, view="wall").close()
    chat = context.new_page()
    link = f'<a href="{address}?view=server">look</a>'
    chat.route("http://chat.example/", lambda route: route.fulfill(content_type="text/html", body=link))
    chat.goto("http://chat.example/")
    chat.get_by_text("look").click()
    chat.wait_for_url(f"{address}?view=server")
    chat.wait_for_selector("html[data-feed=live]")


@pytest.mark.parametrize(
    ("through", "place", "words"),
    [
        (HOST_LOST, "#failed", "must forward Host"),  # browsers send Origin for modules, too
        (NO_UPGRADE, "#banner", "must forward Upgrade and Connection"),
    ],
    indirect=["through"],
    ids=lambda value: getattr(value, "name", ""),
)
def test_page_says_what_the_proxy_must_pass_on(through: tuple[BrowserContext, str], place: str, words: str) -> None:
    page = signed_in(*through)
    expect(page.locator(place)).to_be_visible(timeout=DEADLINE_MS)
    expect(page.locator(place)).to_contain_text(words)
