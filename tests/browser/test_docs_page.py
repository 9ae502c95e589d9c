"""/api/docs in a real browser: it shows the API and tries it, from files of this machine, under the page's policy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from browser.conftest import DEADLINE_MS, Open
from support import program


@pytest.fixture(params=["", "/lab"], ids=["at the root", "below a path"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the page is; a proxy may have put it below a path."""
    words = ("--http-path", request.param) if request.param else ()
    with program.ephemeral("--clients", "1", *words) as served:
        yield f"{served.page}{request.param}"


def test_a_route_is_shown_with_its_answer_and_tried(visit: Open, address: str) -> None:
    page = visit(f"{address}/api/docs").page
    route = page.locator("#operations-default-get_ledger_api_ledger_get")
    route.locator(".opblock-summary-control").click()
    expect(route).to_contain_text('"received_plain": 0', timeout=DEADLINE_MS)  # of the answer's schema
    with page.expect_response(f"{address}/api/ledger") as answered:
        route.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200
    expect(route.locator(".live-responses-table")).to_contain_text("lost_by_cause", timeout=DEADLINE_MS)
