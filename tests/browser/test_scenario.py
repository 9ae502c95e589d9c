"""A scenario is started on the page, and its time line, verdict and report are in sight."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from browser.conftest import DEADLINE_MS, Visit
from support.program import Program

SHORT = """title = "A short one"
clients = 2
rate_hz = 20
duration_s = 2
expect = ["received > 0", "received == 0"]
timeline = [{ at_s = 0, link = { loss_ratio = 0.1 } }, { at_s = 1, profile = "perfect", to = "client-002" }]
"""


@pytest.fixture
def page(home: Visit, product: Program) -> Iterator[Page]:
    yield home.page
    for run in httpx.get(f"{product.page}/api/scenarios").json()["scenarios"]:
        httpx.delete(f"{product.page}/api/scenarios/{run['id']}")


def test_a_scenario_is_started_followed_and_judged_on_the_page(page: Page) -> None:
    page.click("#scenario-open")
    expect(page.locator("#scenario-shipped option")).to_have_count(4)
    assert "duration_s" in page.input_value("#scenario-text"), "it opens on a shipped one"
    page.fill("#scenario-text", SHORT)
    page.click("#scenario [type=submit]")
    expect(page.locator("#run-title")).to_have_text("A short one")
    expect(page.locator("#run-steps li")).to_have_count(2)
    expect(page.locator("#run-bar b")).to_have_count(2)
    # A machine that others load may not keep the schedule, and then there is no verdict.
    ended = re.compile("^(finished: 1 of 2 expectations failed|no verdict: the sender kept [0-9]+ %)")
    expect(page.locator("#run-state")).to_have_text(ended, timeout=DEADLINE_MS)
    if "finished" in page.inner_text("#run-state"):
        expect(page.locator("#run")).to_have_attribute("data-verdict", "false")
        expect(page.locator("#run-expect li")).to_contain_text([" met, measured", " not met, measured"])
    with page.expect_download() as download:
        page.click("#run-report")
    assert "A short one" in download.value.path().read_text()
    page.click("#run-show")
    expect(page.locator(".lane")).to_have_count(2)
    page.click("#run-remove")
    expect(page.locator("#run")).to_be_hidden()
    expect(page.locator("#lanes-nothing")).to_be_visible()


def test_a_run_that_another_page_started_is_seen(page: Page, product: Program) -> None:
    expect(page.locator("#timeline-charts .readout").first).not_to_have_text("")
    httpx.post(f"{product.page}/api/scenarios", json={"text": "title = 'From afar'\nduration_s = 60"})
    expect(page.locator("#run-title")).to_have_text("From afar", timeout=DEADLINE_MS)
    page.click("#run-stop")
    expect(page.locator("#run-state")).to_have_text("stopped: no verdict")


def test_a_wrong_scenario_is_refused_beside_its_text(page: Page, home: Visit) -> None:
    page.click("#scenario-open")
    page.fill("#scenario-text", "duration_s = 1\nclients = -3")
    page.click("#scenario [type=submit]")
    expect(page.locator("#scenario [data-error=text]")).to_contain_text("clients: ")
    expect(page.locator("#scenario-text")).to_be_focused()
    assert "422" in home.errors.pop(), "the browser logs what is refused"
