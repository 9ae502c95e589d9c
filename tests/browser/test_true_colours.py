"""Every colour on the page is a colour that came, and the word beside it names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.conftest import Open
from support.program import Program

FLICKER = (Path(__file__).parent / "flicker.js").read_text()
SEEN_ON_THE_WALL = """
async () => {
  const { paints } = await import("/modules/draw/theme.js");
  const { clock } = await import("/modules/main.js");
  const canvas = document.getElementById("wall-canvas");
  const eye = document.createElement("canvas");
  [eye.width, eye.height] = [canvas.width, canvas.height];
  const context = eye.getContext("2d", { willReadFrequently: true });
  const seen = new Set();
  for (let step = 0; step < 40; step++) {
    await new Promise(requestAnimationFrame);
    context.drawImage(canvas, 0, 0);
    const pixels = new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    for (const pixel of pixels) seen.add(pixel);
  }
  return { seen: [...seen], own: Object.values(paints) };
}
"""
SWATCHES_AND_LABELS = """
async () => {
  const { parseColour, soften } = await import("/modules/draw/colour.js");
  const looks = [];
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  for (let step = 0; step < 40; step++) {
    await new Promise(requestAnimationFrame);
    for (const lane of document.querySelectorAll(".lane")) {
      const code = lane.querySelector(".lane-colour code").textContent;
      context.drawImage(lane.querySelector(".swatch"), 0, 0);
      const shown = context.getImageData(0, 0, 1, 1).data;
      const packed = new Uint32Array(shown.buffer)[0];
      if (code) looks.push([packed, parseColour(code), soften(parseColour(code))]);
    }
  }
  return looks;
}
"""
STRONG = {0xFF000000 | blue << 16 | green << 8 | red for red in (0, 255) for green in (0, 255) for blue in (0, 255)}


def prefer(motion: str) -> str:
    return f"localStorage.setItem('udprism', {json.dumps(json.dumps({'motion': motion}))});"


def test_the_calm_wall_shows_no_colour_that_never_came(visit: Open, product: Program) -> None:
    one = visit(product.page + "/?view=wall", script=prefer("calm") + FLICKER)
    one.page.wait_for_selector("#wall-canvas")
    seen: Any = one.page.evaluate(SEEN_ON_THE_WALL)
    assert len(STRONG & set(seen["seen"])) == len(STRONG)
    assert set(seen["seen"]) <= STRONG | set(seen["own"])


@pytest.mark.parametrize("motion", ["calm", "softened"])
def test_a_lane_s_label_names_the_colour_beside_it(visit: Open, product: Program, motion: str) -> None:
    one = visit(product.page + "/?view=lanes", script=prefer(motion) + FLICKER)
    one.page.wait_for_function("() => document.querySelectorAll('.lane-colour code').length > 3")
    looks: Any = one.page.evaluate(SWATCHES_AND_LABELS)
    assert len(looks) > 100
    shown_for = 1 if motion == "calm" else 2
    assert [look for look in looks if look[0] != look[shown_for]] == []


def test_the_key_of_the_lanes_is_there_from_the_start(visit: Open, product: Program) -> None:
    expect(visit(product.page + "/").page.locator("#lanes-key-shapes")).to_contain_text("lost")


def test_softened_colours_have_a_legend(visit: Open, product: Program) -> None:
    page = visit(product.page + "/?view=wall").page
    expect(page.locator("#wall-key")).not_to_contain_text("Softened")
    page.get_by_label("Softened").check()
    expect(page.locator("#wall-key")).to_contain_text("the colour that arrived")
    expect(page.locator("#wall-key").get_by_text("purple")).to_be_visible()


def test_true_colours_are_shown_only_after_a_warning_and_not_the_next_time(visit: Open, product: Program) -> None:
    page = visit(product.page + "/?view=wall").page
    page.get_by_role("radio", name="True").check(force=True)
    warning = page.get_by_role("dialog", name="True colours can flash")
    expect(warning).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Calm")).to_be_checked()
    page.get_by_role("radio", name="True").click()
    warning.get_by_role("button", name="Show true colours").click()
    expect(page.get_by_role("radio", name="True")).to_be_checked()
    page.reload()
    expect(page.get_by_label("Calm")).to_be_checked()
