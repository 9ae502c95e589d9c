"""A viewer that comes, and one that comes back: each sees the whole state at once, by one snapshot."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from browser.conftest import Open, Visit

pytestmark = pytest.mark.slow  # measurements: other tests beside them would be measured as well

JOINED_MS = 250
"""The budget of a quiet machine. Four times as much is a defect on any."""
AWAKE_MS = 1000
"""The same; here it may take a try or two on a machine that has other things to do."""
TRIES = 4
ASLEEP_S = 1.0
HOUR_MS = 3_600_000

JOIN = """(async () => {
  const { applyFrame, applyMessage, emptyWorld } = await import("/modules/feed/state.js");
  const world = emptyWorld();
  const startMs = performance.now();
  return await new Promise((resolve) => {
    const feed = new m.Feed(`ws://${location.host}/ws/live`, {
      message: (message) => applyMessage(world, message),
      frame: (frame) => {
        applyFrame(world, frame);
        if (world.frames === 1) {
          const joinedMs = performance.now() - startMs;
          const { frame, roster, status } = world;
          const sizes = [frame.slots, frame.stats.rate.length, roster.size, status.clients.total];
          resolve({ joinedMs, sizes });
        }
      },
      changed: () => {},
    });
    feed.start();
  });
})()"""
NOTE = """(() => {
  window.noted = { frames: 0, hellos: 0 };
  const arrived = m.clock.dataArrived.bind(m.clock);
  m.clock.dataArrived = () => { noted.frames += 1; arrived(); };
  let { hello } = m.world;
  Object.defineProperty(m.world, "hello", { get: () => hello, set: (said) => { hello = said; noted.hellos += 1; } });
})()"""
RIGHT = """(async () => {
  const wokeAtMs = performance.now();
  while (!(m.world.frame.unixMs >= x)) await new Promise((resolve) => setTimeout(resolve, 5));
  return { awakeMs: performance.now() - wokeAtMs, ...noted, slots: m.world.frame.slots };
})()"""


def test_a_viewer_that_joins_ten_thousand_clients_sees_them_all_at_once(visit: Open, crowd: str) -> None:
    page = visit(crowd + "/icon.svg")  # where no other viewer is
    seen: list[Any] = [page.import_("feed/feed", JOIN) for _ in range(5)]
    for one in seen:
        assert one["sizes"] == [10_000] * 4
    told = sorted(round(one["joinedMs"]) for one in seen)
    print(f"joined after {told} ms")
    assert told[0] < 4 * JOINED_MS
    page.errors.clear()  # a picture has no icon


def asleep_and_awake(one: Visit) -> dict[str, Any]:
    """How long after its waking the page showed a picture that was taken after it, and what came until then."""
    page = one.page
    soon_unix_s = page.evaluate("() => Date.now()") / 1000 + 2
    page.clock.pause_at(soon_unix_s)  # no timer and no animation frame from then on
    asleep_until_s = time.monotonic() + ASLEEP_S
    while time.monotonic() < asleep_until_s:
        page.wait_for_timeout(100)  # what the page had asked for still comes
    page.evaluate("() => Object.assign(noted, { frames: 0, hellos: 0 })")
    woken_unix_ms = time.time_ns() / 1e6
    page.clock.fast_forward(HOUR_MS)
    page.clock.resume()
    seen: Any = one.import_("main", RIGHT, woken_unix_ms)
    print(f"right {seen['awakeMs']:.0f} ms after waking, by {seen['frames']} frames")
    return seen


def test_a_viewer_that_slept_for_an_hour_is_right_by_one_picture(visit: Open, crowd: str) -> None:
    one = visit(crowd + "/?view=wall", init=lambda page: page.clock.install())
    expect(one.page.locator("#count-clients")).to_have_text("10,000")
    one.import_("main", NOTE)
    for _ in range(TRIES):
        seen = asleep_and_awake(one)
        assert seen["slots"] == 10_000
        if seen["awakeMs"] < AWAKE_MS and not seen["hellos"]:
            break
    assert seen["awakeMs"] < AWAKE_MS
    assert seen["hellos"] == 0, "the connection stands; there is no reason for another"
    assert seen["frames"] == 1


def test_a_viewer_whose_connection_died_in_its_sleep_begins_anew(visit: Open, crowd: str) -> None:
    """As behind a router that has forgotten the connection: nobody says that it is closed."""
    routes: list[WebSocketRoute] = []
    dead: list[WebSocketRoute] = []

    def through(page_side: WebSocketRoute) -> None:
        server_side = page_side.connect_to_server()
        page_side.on_message(lambda said: None if page_side in dead else server_side.send(said))
        server_side.on_message(lambda said: None if page_side in dead else page_side.send(said))
        routes.append(page_side)

    def prepare(page: Page) -> None:
        page.clock.install()
        page.route_web_socket("**/ws/live", through)

    one = visit(crowd + "/?view=wall", init=prepare)
    expect(one.page.locator("#count-clients")).to_have_text("10,000")
    one.import_("main", NOTE)
    most_ms = 2 * AWAKE_MS  # what comes passes through this process, which takes its time
    for _ in range(TRIES):
        dead[:] = routes
        seen = asleep_and_awake(one)
        assert seen["slots"] == 10_000
        if seen["awakeMs"] < most_ms:
            break
    assert seen["awakeMs"] < most_ms
    assert seen["hellos"] == 1
    assert seen["frames"] <= 2  # a new connection asks for two
