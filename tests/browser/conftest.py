"""A real browser in front of the real program, and of one that pretends to have ten thousand clients.

Fixtures that live long are package-scoped: Playwright's event loop, kept for a session, breaks asyncio tests that come
later.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, ConsoleMessage, Error, Page, sync_playwright

from support import program
from support.nginx import free_port
from support.program import Program

ROOT = Path(__file__).parents[2]
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
DEADLINE_MS = 20_000


@pytest.fixture(autouse=True)
def _nothing_blocks_an_event_loop() -> None:
    """Not watched here: Playwright's loop runs the test itself inside one of its callbacks."""


def launch(chromium: BrowserType, *flags: str) -> Browser | None:
    """The browser that BROWSER_PATH names, else Playwright's own, else the system's; None where there is none."""
    named = os.environ.get("BROWSER_PATH")
    if named:
        return chromium.launch(executable_path=named, args=[*FLAGS, *flags])
    if Path(chromium.executable_path).exists():
        return chromium.launch(args=[*FLAGS, *flags])
    for name in SYSTEM_BROWSERS:
        if found := shutil.which(name):
            return chromium.launch(executable_path=found, args=[*FLAGS, *flags])
    return None


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this package."""
    with sync_playwright() as playwright:
        started = launch(playwright.chromium)
        if started is None:
            advice = "no browser: set BROWSER_PATH, or install Chromium, Chrome or Edge"
            if os.environ.get("CI"):
                pytest.fail(advice)
            pytest.skip(advice)
        yield started
        started.close()


@pytest.fixture(scope="package")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The real program with its ten clients; tests that change it put it back."""
    with program.serving(tmp_path_factory.mktemp("data")) as running:
        yield running


@contextmanager
def crowd_of(clients: int) -> Iterator[str]:
    """Where a page with so many clients, none of which exists, is served."""
    port = free_port()
    words = [sys.executable, "-m", "tests.web.fake_bridge", "--port", str(port), "--clients", str(clients)]
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("http"), "the pretended clients did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="package")
def crowd() -> Iterator[str]:
    """Ten thousand of them."""
    with crowd_of(10_000) as address:
        yield address


def note(errors: list[str], said: ConsoleMessage) -> None:
    """What the console calls an error or a warning.

    Other tests add network interfaces meanwhile, and Chromium then fails the requests that are under way: the page asks
    again, and Chromium notes it all the same.
    """
    if said.type in ("error", "warning") and "ERR_NETWORK_CHANGED" not in said.text:
        errors.append(said.text)


@dataclass
class Visit:
    """One page, and what went wrong on it."""

    page: Page
    context: BrowserContext
    errors: list[str] = field(default_factory=list)

    def import_(self, module: str, expression: str, argument: object = None) -> object:
        """What `expression` gives, with the page's own `module` as `m` and the argument as `x`."""
        script = f"async (x) => {{ const m = await import('/modules/{module}.js'); return ({expression}); }}"
        return self.page.evaluate(script, argument)


Open = Callable[..., Visit]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Opens addresses. At the end no page may have made an error, or asked anybody but its own server."""
    visits: list[Visit] = []

    def open_(
        address: str,
        *,
        width: int = 1440,
        height: int = 900,
        script: str = "",
        init: Callable[[Page], object] | None = None,
        **options: object,
    ) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)  # type: ignore[arg-type]
        context.set_default_timeout(DEADLINE_MS)
        page = context.new_page()
        one = Visit(page, context)
        visits.append(one)
        origin = "/".join(address.split("/")[:3])
        page.on("console", partial(note, one.errors))
        page.on("pageerror", lambda error: one.errors.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(origin) else one.errors.append(f"asked {asked.url}"),
        )
        if script:
            page.add_init_script(script)
        if init:
            init(page)
        page.goto(address)
        return one

    yield open_
    errors = [error for one in visits for error in one.errors]
    for one in visits:
        try:
            one.context.close()
        except Error as error:
            errors.append(str(error))
    assert not errors, errors


@pytest.fixture
def home(visit: Open, product: Program) -> Visit:
    """The real program's page, with its clients in sight."""
    one = visit(product.page + "/")
    one.page.wait_for_selector(".lane[data-state=live]")
    return one
