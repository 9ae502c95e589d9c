"""What the page may cost with ten thousand clients, measured where it is paid."""

from __future__ import annotations

import json
import time

import pytest

from browser.conftest import Open, Visit

LENGTH_S = 8.0
FRAMES_PER_S = 30
BUSY_SHARE = 0.5
FIRST_PICTURE_MS = 1000
"""The budget, which a quiet machine keeps; three times as much is a defect on any."""
HEAP_GROWTH_BYTES = 1_000_000

PAINTED = "() => performance.getEntriesByName('first-picture').length > 0"
COUNT_FRAMES = """(ms) => new Promise((resolve) => {
  let frames = 0;
  const until = performance.now() + ms;
  const step = (now) => {
    frames += 1;
    if (now < until) requestAnimationFrame(step); else resolve(frames / (ms / 1000));
  };
  requestAnimationFrame(step);
})"""


def first_picture_ms(one: Visit) -> float:
    """From navigation to the first paint that shows data."""
    one.page.wait_for_function(PAINTED)
    return float(one.page.evaluate("() => performance.getEntriesByName('first-picture')[0].startTime"))


@pytest.mark.slow  # a measurement: other tests beside it would be measured as well
@pytest.mark.parametrize("motion", ["calm", "softened"])
def test_ten_thousand_clients_stay_within_the_budget(visit: Open, crowd: str, motion: str) -> None:
    kept = f"localStorage.setItem('udprism', {json.dumps(json.dumps({'motion': motion}))});"
    one = visit(crowd + "/?view=wall", script=kept)
    first_ms = first_picture_ms(one)
    for _ in range(4):  # what something else on the machine has slowed down says nothing of the page
        if first_ms >= FIRST_PICTURE_MS:
            one.page.reload()
            first_ms = min(first_ms, first_picture_ms(one))
    tools = one.context.new_cdp_session(one.page)
    tools.send("Performance.enable")

    def measured() -> dict[str, float]:
        tools.send("HeapProfiler.collectGarbage")
        return {each["name"]: each["value"] for each in tools.send("Performance.getMetrics")["metrics"]}

    one.page.evaluate(COUNT_FRAMES, 1000)  # the first second belongs to loading and compiling
    before = measured()
    length_s = LENGTH_S if motion == "softened" else LENGTH_S / 4
    frames_per_s = one.page.evaluate(COUNT_FRAMES, length_s * 1000)
    after = measured()
    busy = (after["TaskDuration"] - before["TaskDuration"]) / (after["Timestamp"] - before["Timestamp"])
    told = f"{frames_per_s:.0f} frames/s, {busy:.0%} busy, first picture after {first_ms:.0f} ms"
    print(told)
    assert frames_per_s > FRAMES_PER_S, told
    assert busy < BUSY_SHARE, told
    assert first_ms < 3 * FIRST_PICTURE_MS, told
    assert after["JSHeapUsedSize"] - before["JSHeapUsedSize"] < HEAP_GROWTH_BYTES
    assert after["Nodes"] <= before["Nodes"] + 20
    assert after["JSEventListeners"] <= before["JSEventListeners"]


@pytest.mark.endurance
def test_the_heap_is_flat_over_three_minutes(visit: Open, crowd: str) -> None:
    one = visit(crowd + "/?view=wall", script="localStorage.setItem('udprism', '{\"motion\":\"softened\"}');")
    one.page.wait_for_function(PAINTED)
    tools = one.context.new_cdp_session(one.page)
    tools.send("Performance.enable")
    sizes = []
    for _ in range(9):
        one.page.evaluate(COUNT_FRAMES, 20_000)
        tools.send("HeapProfiler.collectGarbage")
        metrics = {each["name"]: each["value"] for each in tools.send("Performance.getMetrics")["metrics"]}
        sizes.append(metrics["JSHeapUsedSize"])
    print([f"{size / 1e6:.2f} MB" for size in sizes])
    assert max(sizes[1:]) - sizes[1] < HEAP_GROWTH_BYTES


def test_a_page_that_does_not_paint_asks_for_nothing_and_is_right_at_once_afterwards(visit: Open, crowd: str) -> None:
    one = visit(crowd + "/?view=wall")
    one.page.wait_for_function(PAINTED)
    one.page.click("#pause")
    told = one.import_(
        "main",
        """(async () => {
          const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
          while (m.feed.outstanding > 0) await wait(5);
          const frames = m.world.frames;
          await wait(500);
          const asleep = m.world.frames - frames;
          const { number, unixMs } = m.world.frame;
          document.getElementById("pause").click();
          while (m.world.frame.number === number) await wait(5);
          return { asleep, messages: m.world.frames - frames, newer: m.world.frame.unixMs - unixMs };
        })()""",
    )
    assert isinstance(told, dict)
    assert told["asleep"] == 0
    assert told["messages"] == 1, "one snapshot, not all that was missed"
    assert told["newer"] >= 500


REPAINTS_MS = """(async () => {
  const [root, line] = [document.createElement("div"), document.createElement("p")];
  document.body.append(root, line);
  root.style.width = "800px";
  const curves = ["a", "b", "c"].map((label) => ({ label, colour: "accent" }));
  const panels = ["Rate", "Lost", "Delay", "Jitter"].map((name) =>
    ({ name, term: "rate_hz", text: String, heightPx: 72, curves }));
  const charts = new m.TimeCharts(root, panels, line, (range) => range);
  const times = Array.from({ length: 1080 }, (_, at) => 1.7e9 + at * 10);
  const column = times.map((_, at) => 100 + 50 * Math.sin(at / 9));
  const marks = Array.from({ length: 60 }, (_, at) =>
    ({ at: 1.7e9 + at * 180, kind: "link", text: "link set", flow: null }));
  const took = [];
  for (let at = 0; at < 20; at++) {
    const began = performance.now();
    charts.show(times, panels.map(() => [column, column, column]), marks, { from: 1.7e9 + at * 60, to: 1.7e9 + 10800 });
    await Promise.resolve();
    took.push(performance.now() - began);
    await new Promise(requestAnimationFrame);
  }
  return Math.min(...took);
})()"""


def test_three_hours_of_curves_repaint_within_50_ms(home: Visit) -> None:
    """Four charts of 1,080 steps and sixty marks; the fastest of twenty, because others use this machine as well."""
    took_ms = home.import_("draw/timechart", REPAINTS_MS)
    assert isinstance(took_ms, int | float)
    print(f"{took_ms:.1f} ms")
    assert took_ms < 50


def processor_share(one: Visit, length_s: float) -> float:
    """Of one processor, what the page's main thread uses: its own time, which others do not lengthen."""
    tools = one.context.new_cdp_session(one.page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy_s() -> float:
        metrics = {each["name"]: each["value"] for each in tools.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    before, began_s = busy_s(), time.monotonic()
    one.page.wait_for_timeout(length_s * 1000)
    return (busy_s() - before) / (time.monotonic() - began_s)


def test_ten_tiles_cost_next_to_nothing(home: Visit) -> None:
    home.page.click("a[data-view=wall]")
    home.page.wait_for_function(PAINTED)
    home.page.wait_for_timeout(1000)  # the first second belongs to loading and compiling
    share = processor_share(home, 3)
    print(f"{share:.1%}")
    assert share < 0.1


def test_ten_thousand_clients_with_history_and_flight_open_leave_half_of_the_main_thread(
    visit: Open, crowd: str
) -> None:
    one = visit(crowd + "/?view=wall")
    one.page.wait_for_function(PAINTED)
    one.page.locator("#wall-cell").focus()
    one.page.keyboard.press("Enter")
    one.page.click("#tab-flight")
    one.page.wait_for_function("() => document.getElementById('flight-facts').textContent !== ''")
    one.page.wait_for_timeout(1000)
    share = processor_share(one, 3)
    print(f"{share:.1%}")
    assert share < BUSY_SHARE
