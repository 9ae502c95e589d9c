"""What fits on a screen: measured on the page, at the sizes of a desktop, a laptop and a phone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import Visit

DESKTOP, LAPTOP, PHONE = (1440, 900), (1280, 720), (390, 844)
BUSY_HEADER = """() => {
  const counts = document.querySelectorAll("#counts dd");
  for (const [at, text] of ["3,000", "2,998", "1,034", "1,034", "27,804"].entries()) {
    counts[at].textContent = text;
    counts[at].parentElement.hidden = false;
  }
  for (const [id, text] of [["sent", "288,878"], ["received", "273,998"], ["lost", "14,305"], ["link", "14,305"]]) {
    document.querySelector(`[data-ledger=${id}]`).textContent = text;
  }
  const departed = document.getElementById("ledger-departed");
  departed.textContent = "sent 48,210, lost 899";
  departed.parentElement.hidden = false;
  const badge = document.getElementById("link-badge");
  badge.hidden = false;
  badge.querySelector(".who").textContent = "Link impaired: all clients";
  document.getElementById("attention").hidden = false;
  document.querySelector("#attention ul").innerHTML = "<li>all clients lose about 7.1 % (the link)</li>";
}"""
"""As a loaded machine with a bad link fills it, in one synchronous step before it is measured."""


def measured(page: Page, size: tuple[int, int], script: str, before: str = "() => {}") -> float:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    value = page.evaluate(f"() => {{ ({before})(); return ({script})(); }}")
    assert isinstance(value, int | float)
    return float(value)


@pytest.mark.parametrize("size", [DESKTOP, LAPTOP])
def test_a_full_header_stays_on_one_line(home: Visit, size: tuple[int, int]) -> None:
    height = "() => document.querySelector('.bar').getBoundingClientRect().height"
    assert measured(home.page, size, height, BUSY_HEADER) < 60
    ledger = "() => document.querySelector('#ledger').getBoundingClientRect().height"
    assert measured(home.page, size, ledger, BUSY_HEADER) < 44
    beyond = "() => document.querySelector('.bar').scrollWidth - innerWidth"
    assert measured(home.page, size, beyond, BUSY_HEADER) <= 0
    home.page.click("a[data-view=wall]")
    home.page.wait_for_selector("#wall:not([hidden])")
    assert measured(home.page, size, "() => document.querySelector('.tools').getBoundingClientRect().height") < 60


@pytest.mark.parametrize(("size", "most"), [(DESKTOP, 0.46), (LAPTOP, 0.58), (PHONE, 0.55)])
def test_the_lanes_begin_high_on_the_screen_with_all_that_can_stand_above_them(
    home: Visit, size: tuple[int, int], most: float
) -> None:
    home.page.set_viewport_size({"width": size[0], "height": size[1]})
    home.page.reload()
    home.page.wait_for_selector(".lane[data-state=live]")
    top = "() => document.querySelector('.lane').getBoundingClientRect().top / innerHeight"
    assert measured(home.page, size, top, BUSY_HEADER) < most


@pytest.mark.parametrize(("size", "charts"), [(DESKTOP, 4), (LAPTOP, 3), (PHONE, 4)])
def test_a_drawer_opens_on_its_curves(home: Visit, size: tuple[int, int], charts: int) -> None:
    home.page.set_viewport_size({"width": size[0], "height": size[1]})
    home.page.locator(".lane-name button").first.click()
    home.page.wait_for_selector("#past-charts .uplot")
    script = """() => [...document.querySelectorAll("#past-charts .panel-chart")]
        .filter((chart) => chart.getBoundingClientRect().bottom <= innerHeight).length"""
    assert measured(home.page, size, script) >= charts


def test_no_heading_of_the_sessions_lies_over_its_neighbour(home: Visit) -> None:
    home.page.click("a[data-view=server]")
    home.page.wait_for_selector(".sessions thead th")
    home.page.click(".sessions tbody th button")
    home.page.wait_for_selector("#drawer:not([hidden])")
    script = """() => [...document.querySelectorAll(".sessions thead th > *")].filter((word) =>
        word.getBoundingClientRect().right > word.parentElement.getBoundingClientRect().right + 1).length"""
    for size in (DESKTOP, LAPTOP):
        assert measured(home.page, size, script) == 0


BEHIND = """async () => {
  const { world, clock } = await import("/modules/main.js");
  world.frame.flags.fill(128);
  world.stats.rate.fill(9875);
  for (const entry of world.roster.values()) entry.rateHz = 1000;
  world.status.behind = 10;
  world.status.attention = [{ slot: null, id: null, name: null, why: "everybody-behind", value: 0.198 }];
  clock.tickNow();
  const [lane] = document.querySelectorAll(".lane");
  return ["rate", "loss", "jitter", "delay"].map((name) => {
    const { left, right, top } = lane.querySelector(`.lane-${name} b`).getBoundingClientRect();
    return [Math.round(left), Math.round(right), Math.round(top)];
  }).concat([[0, 0, Math.round(lane.querySelector(".lane-ribbon").getBoundingClientRect().bottom)]]);
}"""
"""Of a picture that a pause keeps: a sender that reaches 198/s of 1,000/s."""


def test_a_sender_that_falls_behind_is_told_on_a_phone_without_touching_its_neighbours(home: Visit) -> None:
    home.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    home.page.click("#pause")
    expect(home.page.locator("#banner")).to_contain_text("Paused at")
    *numbers, (_, _, ribbon_bottom) = home.page.evaluate(BEHIND)
    expect(home.page.locator(".lane-rate b").first).to_have_text("198/s of 1,000")
    expect(home.page.locator("#count-behind")).to_have_text("10")
    expect(home.page.locator("#attention")).to_contain_text("many senders reach about 20 % of the requested rate")
    assert all(top >= ribbon_bottom for _, _, top in numbers)
    assert all(right <= left for (_, right, _), (left, _, _) in pairwise(numbers))
