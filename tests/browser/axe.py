"""A screen is looked over: axe finds nothing in it, at any size, in both themes, and it does not scroll sideways."""

from __future__ import annotations

from typing import Literal

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page

SIZES = ((1440, 900), (768, 1024), (320, 640))
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
RUN_AXE = "(root) => axe.run(root ?? document, { resultTypes: ['violations'], elementRef: false })"


def look_over(page: Page, root: str | None, sizes: tuple[tuple[int, int], ...] = SIZES) -> None:
    """root: a selector of the part that is looked over; None for the whole page."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    for width, height in sizes:
        page.set_viewport_size({"width": width, "height": height})
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            found = AxeResults(page.evaluate(RUN_AXE, root))
            assert not found.violations_count, f"{width} px, {theme}: {found.generate_report()}"
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), (
            f"{width} px: it scrolls sideways"
        )
