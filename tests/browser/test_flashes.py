"""Nobody may be hurt: at most three flashes a second, whatever the data (WCAG 2.2, success criterion 2.3.1)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser import flashes
from browser.conftest import Open, Visit
from support.program import Program

FLICKER = (Path(__file__).parent / "flicker.js").read_text()
MOST_FLASHES = 3
FRAMES = 90
"""A second and a half: every second within it is looked at."""
STEP_PX = 6
FIELD = {"width": 341, "height": 256}
"""The text's "any 341 by 256 pixel rectangle"."""
WALL, LANES, DRAWER, FLIGHT = "#wall-canvas", ".lane .ribbon", ".now-swatch", "#flight-canvas"


def prefer(motion: str) -> str:
    return f"localStorage.setItem('udprism', {json.dumps(json.dumps({'motion': motion}))});"


def look_at(one: Visit, selector: str) -> flashes.Counted:
    """Count what a 341 × 256 field at that element's upper left corner shows."""
    one.page.wait_for_selector(selector)
    corner = one.page.eval_on_selector(
        selector, "e => ({left: e.getBoundingClientRect().left, top: e.getBoundingClientRect().top})"
    )
    recorded: Any = one.page.evaluate("x => record(...x)", [corner | FIELD, FRAMES, STEP_PX])
    pixels = np.array([np.frombuffer(base64.b64decode(picture), np.uint8) for picture in recorded["pixels"]])
    assert len(np.unique(pixels)) > 2, "nothing was drawn"
    return flashes.count(pixels.reshape(len(pixels), -1, 3), np.array(recorded["times"]))


@pytest.mark.parametrize("motion", ["calm", "softened"])
def test_no_view_flashes(visit: Open, product: Program, motion: str) -> None:
    one = visit(product.page + "/?view=wall", script=prefer(motion) + FLICKER)
    seen = {"wall": look_at(one, WALL)}
    one.page.click("a[data-view=lanes]")
    seen["lanes"] = look_at(one, LANES)
    one.page.click(".lane-name button")
    seen["drawer"] = look_at(one, DRAWER)
    one.page.click("#tab-flight")
    one.page.wait_for_selector("#flight-facts:has-text('Point at one')")
    seen["flight"] = look_at(one, FLIGHT)
    assert max(counted.general for counted in seen.values()) <= MOST_FLASHES, seen
    assert max(counted.red for counted in seen.values()) <= MOST_FLASHES, seen


def test_true_colours_flash_as_their_warning_says_and_not_in_the_drawer(visit: Open, product: Program) -> None:
    one = visit(product.page + "/?view=wall", script=prefer("calm") + FLICKER)
    one.page.get_by_role("radio", name="True").click()
    one.page.get_by_role("button", name="Show true colours").click()
    assert look_at(one, WALL).general > MOST_FLASHES
    one.page.click("a[data-view=lanes]")
    one.page.click(".lane-name button")
    counted = look_at(one, DRAWER)
    assert max(counted.general, counted.red) <= MOST_FLASHES


def test_lanes_on_a_phone_do_not_flash(visit: Open, product: Program) -> None:
    one = visit(product.page + "/?view=lanes", script=prefer("calm") + FLICKER, width=390, height=844)
    counted = look_at(one, ".lane")
    assert max(counted.general, counted.red) <= MOST_FLASHES


def test_without_the_clock_it_would_flash(visit: Open, product: Program) -> None:
    one = visit(product.page + "/?view=wall", script=prefer("calm") + FLICKER)
    one.import_("main", "m.clock.tickMs = 1")
    assert look_at(one, WALL).general > MOST_FLASHES
    one.page.click("a[data-view=lanes]")
    assert look_at(one, LANES).general > MOST_FLASHES


def test_the_counter_counts_a_fade_to_white_and_back_as_one_flash() -> None:
    ramp = np.concatenate([np.arange(0, 256, 16), np.arange(255, -1, -16)]).astype(np.uint8)
    pixels = np.repeat(ramp, 3).reshape(-1, 1, 3)
    counted = flashes.count(pixels, np.arange(len(pixels), dtype=np.float64) * 25.0)
    assert (counted.general, counted.red) == (1, 0)


def test_the_counter_sees_red() -> None:
    pixels = np.zeros((60, 1, 3), np.uint8)
    pixels[::2, :, 0] = 255
    assert flashes.count(pixels, np.arange(60, dtype=np.float64) * 16.7).red > MOST_FLASHES
