"""No module is longer than 350 lines, and no function longer than 50: what is longer has more than one subject.

A function's length is that of its whole definition, from `def` to its last line, docstring and parameters included.
The length of the page's functions is held by Biome (`noExcessiveLinesPerFunction` in frontend/biome.json).
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import udprism

PACKAGE = Path(udprism.__file__).parent
FRONTEND = Path(__file__).parents[1] / "frontend"
MOST_MODULE_LINES = 350
MOST_FUNCTION_LINES = 50
BACKEND = sorted(PACKAGE.rglob("*.py"))
PAGE = sorted((FRONTEND / "modules").rglob("*.js"))


def long_functions(source: str) -> dict[str, int]:
    """Functions that are too long, and how long they are."""
    functions = [one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    lines = {one.name: (one.end_lineno or one.lineno) - one.lineno + 1 for one in functions}
    return {name: count for name, count in lines.items() if count > MOST_FUNCTION_LINES}


@pytest.mark.parametrize("module", [*BACKEND, *PAGE], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_module_is_too_long(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= MOST_MODULE_LINES


@pytest.mark.parametrize("module", BACKEND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_function_is_too_long(module: Path) -> None:
    assert long_functions(module.read_text()) == {}


def test_a_function_that_is_too_long_is_found_wherever_it_stands() -> None:
    body = "\n".join(["        x = 1"] * MOST_FUNCTION_LINES)
    assert long_functions(f"class A:\n    async def f(self):\n{body}\n") == {"f": MOST_FUNCTION_LINES + 1}
    assert long_functions("def f():\n" + "    x = 1\n" * (MOST_FUNCTION_LINES - 1)) == {}


def test_the_pages_functions_are_held_to_the_same_length() -> None:
    rules = json.loads((FRONTEND / "biome.json").read_text())["linter"]["rules"]
    rule = rules["complexity"]["noExcessiveLinesPerFunction"]
    assert rule["level"] == "error"
    assert rule["options"]["maxLines"] == MOST_FUNCTION_LINES
