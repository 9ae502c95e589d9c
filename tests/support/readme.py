"""The README's own commands and programs, so that what is documented is what is tested."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def block(marker: str) -> str:
    """The code block below `<!-- marker -->` in README.md."""
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"<!-- {marker} -->\n```\w*\n(.*?)\n```", text, re.DOTALL)
    assert found is not None, f"README.md has no code block below <!-- {marker} -->"
    return found[1]


def curl_commands() -> list[str]:
    """Every curl command, on one line."""
    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    return re.findall(r"^curl .*$", text, re.MULTILINE)
