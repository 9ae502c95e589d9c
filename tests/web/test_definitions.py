"""Every number that is shown has its definition."""

from __future__ import annotations

import asyncio
import re

from udprism.web import definitions
from udprism.web.app import static_directory
from web.fake_bridge import FakeBridge
from web.running import running

DEFINED = {definition.id for definition in definitions.ALL}


def test_no_number_is_defined_twice() -> None:
    assert len(DEFINED) == len(definitions.ALL)


def test_every_number_of_the_ledger_is_defined() -> None:
    ledger = asyncio.run(FakeBridge().ledger())
    causes = ledger.pop("lost_by_cause")
    assert set(ledger) | {f"lost_by_cause.{cause}" for cause in causes} <= DEFINED
    assert {"rate_hz", "loss_ratio", "jitter_ms", "delay_ms", "rtt_ms", "age_ms"} <= DEFINED


def test_every_number_that_the_page_explains_is_defined() -> None:
    pages = [static_directory() / "index.html", *(static_directory() / "modules").rglob("*.js")]
    asked = {term for page in pages for term in re.findall(r'data-term="([^"$]+)"|term: "([^"]+)"', page.read_text())}
    terms = {one or other for one, other in asked}
    assert terms
    assert terms <= DEFINED


def test_each_has_words_for_all_that_it_says() -> None:
    for one in definitions.ALL:
        assert one.name
        assert one.formula.endswith("."), one.id
        assert one.caveat is None or one.caveat.endswith("."), one.id


def test_definitions_are_served_and_are_in_the_apis_description() -> None:
    with running() as here, here.client() as client:
        served = client.get("/api/definitions").json()["definitions"]
        described = client.get("/api/openapi.json").json()["info"]["description"]
    assert {one["id"] for one in served} == DEFINED
    assert set(served[0]) == {"id", "name", "unit", "formula", "source", "caveat"}
    for one in served:
        assert f"`{one['id']}`" in described
        assert one["formula"] in described
