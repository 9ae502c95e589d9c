"""The documents name settings, flags, routes and modules: each must exist, and each module and route must be named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
from starlette.routing import WebSocketRoute

from udprism.cli import app
from udprism.cli.flags import variable
from udprism.settings import Settings
from udprism.web.app import create_app
from web.fake_bridge import FakeBridge

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "backend" / "udprism"
DOCUMENTS = [path for path in (ROOT / "README.md", *sorted((ROOT / "backend").glob("*.md"))) if path.exists()]


def commands() -> dict[str, set[str]]:
    """Each subcommand's flags."""
    group = typer.main.get_command(app)
    found: dict[str, set[str]] = {"": {"--version", "--help"}}
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # a group, since it has subcommands
        found[name] = {"--help"} | {option for parameter in command.params for option in parameter.opts}
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_variable_that_is_named_is_a_setting(document: Path) -> None:
    known = {variable(name) for name in Settings.model_fields} | {"UDPRISM_OPEN"}
    assert set(re.findall(r"UDPRISM_[A-Z_]*[A-Z]", document.read_text())) - known == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_subcommand_that_is_named_exists_with_its_flags(document: Path) -> None:
    known = commands()
    for words in re.findall(r"`(?:\.venv/bin/)?udprism ([^`]*)`", document.read_text()):
        name = words.split()[0]
        assert name in known, f"udprism {words}"
        assert set(re.findall(r"--[a-z-]+", words)) <= known[name], f"udprism {words}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_flag_that_is_named_alone_belongs_to_some_subcommand(document: Path) -> None:
    known = set().union(*commands().values())
    for words in re.findall(r"`(--[^`]*)`", document.read_text()):
        assert words.split()[0] in known, words


def test_flags_of_serve_are_settings() -> None:
    names = {option.removeprefix("--").replace("-", "_") for option in commands()["serve"]}
    assert names - {"help", "open"} <= set(Settings.model_fields)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def module_map() -> set[str]:
    """The modules that ARCHITECTURE.md's map names, as paths below the package."""
    text = (ROOT / "backend" / "ARCHITECTURE.md").read_text()
    block = re.search(r"```\nudprism/\n(.*?)```", text, re.DOTALL)
    assert block is not None
    named: set[str] = set()
    folders: dict[int, str] = {}
    for line in block[1].splitlines():
        name, indent = line.split()[0], len(line) - len(line.lstrip())
        path = folders.get(indent - 2, "") + name
        named.add(path.rstrip("/"))
        folders = {depth: folder for depth, folder in folders.items() if depth < indent}
        if name.endswith("/"):
            folders[indent] = path
    return named


def test_the_map_names_every_module_and_no_other() -> None:
    there = {
        str(path.relative_to(PACKAGE).with_suffix("")).removesuffix("/__init__")
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "__init__.py"
    }
    assert module_map() == there


def routes() -> set[str]:
    """Every path of the web app, parameters without their names."""
    app = create_app(FakeBridge())  # type: ignore[arg-type]  # it has all that the app asks of a bridge
    routers = [included.original_router for included in app.routes if hasattr(included, "original_router")]
    others = {
        route.path
        for router in routers
        for route in router.routes
        if isinstance(route, WebSocketRoute) or not getattr(route, "include_in_schema", True)
    }
    paths = set(app.openapi()["paths"]) | others
    return {re.sub(r"{.*?}", "{}", path) for path in paths} - {"/api/docs/{}"}  # the files of that page


def named_routes(text: str) -> set[str]:
    """Paths within code marks or blocks, without queries."""
    found = re.findall(r"/(?:api|ws|livez|readyz|metrics)\b(?:/(?:{[^}]*}|[a-z_-])+)*", text)
    return {re.sub(r"{.*?}", "{}", path) for path in found} - {"/api", "/ws"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_route_that_is_named_exists(document: Path) -> None:
    assert named_routes(document.read_text()) <= routes()


def test_every_route_is_named() -> None:
    assert routes() <= named_routes("".join(document.read_text() for document in DOCUMENTS))


def test_decisions_are_dated_newest_first_and_say_what_would_reverse_them() -> None:
    text = (ROOT / "backend" / "DECISIONS.md").read_text()
    decisions = text.split("\n## ")[1:]
    dates = [decision[:10] for decision in decisions]
    assert dates == sorted(dates, reverse=True)
    for decision in decisions:
        assert re.match(r"\d{4}-\d\d-\d\d: ", decision)
        assert "*Would be reversed by:*" in decision, decision.splitlines()[0]
