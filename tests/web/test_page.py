"""The page's modules: which may import which, that all are announced, and that the page works below any path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FRONTEND = Path(__file__).parents[2] / "frontend"
MODULES = FRONTEND / "modules"
VENDOR = FRONTEND / "vendor"
ORDER = ("main", "views", "dialogs", "draw", "feed", "base", "vendor")
"""A module imports from its own room and from those to the right of it: types, too. vendor is other people's."""
NOT_IMPORTED = {"modules/base/failure.js"}
"""A plain script, which must run where modules do not."""
ABSOLUTE = re.compile(
    r"""(?:\b(?:href|src|action)=|\bfetch\(|\bask\("[A-Z]+",\s*|\burl\(|\bfrom\s+|\bimport\s*\(?\s*)["'`]?/(?!/)[^\n]*"""
)
PAGES = [path for path in FRONTEND.rglob("*") if path.suffix in (".html", ".js", ".css", ".svg")]
PAGES = [path for path in PAGES if "node_modules" not in path.parts]


def room(module: Path) -> str:
    """`main` for what lies beside main.js."""
    if module.is_relative_to(VENDOR):
        return "vendor"
    inner = module.relative_to(MODULES).parts
    return inner[0] if len(inner) > 1 else "main"


def imported(module: Path) -> list[Path]:
    """The modules that it names, in statements and in JSDoc."""
    named = re.findall(r"""(?:\bfrom\s+|\bimport\s*\(?\s*)["']([^"']+)["']""", module.read_text())
    return [(module.parent / name).resolve() for name in named]


@pytest.mark.parametrize("module", sorted(MODULES.rglob("*.js")), ids=lambda path: path.relative_to(MODULES).as_posix())
def test_imports_go_one_way(module: Path) -> None:
    here = ORDER.index(room(module))
    for other in imported(module):
        assert other.is_file(), f"there is no {other}"
        assert ORDER.index(room(other)) >= here, f"{room(module)} may not import {other.relative_to(FRONTEND)}"


def test_every_module_is_preloaded_and_no_other() -> None:
    text = (FRONTEND / "index.html").read_text()
    preloaded = re.findall(r'<link rel="modulepreload" href="([^"]+)">', text)
    there = {path.relative_to(FRONTEND).as_posix() for folder in (MODULES, VENDOR) for path in folder.rglob("*.js")}
    assert preloaded == sorted(there - {"modules/main.js"} - NOT_IMPORTED)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(FRONTEND).as_posix())
def test_no_address_begins_with_a_slash(path: Path) -> None:
    """A proxy may serve the page below a path."""
    assert not ABSOLUTE.findall(path.read_text())
