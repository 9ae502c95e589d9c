"""Every way of installing serves the same page, and the README's first command works in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from support import program, readme

pytestmark = pytest.mark.slow

STATIC = "udprism/static/"
NOT_SERVED = {"bodies.d.ts", "package.json", "package-lock.json", "tsconfig.json", "biome.json", ".npmrc"}


def page_files(checkout: Path = readme.ROOT) -> dict[str, bytes]:
    """What belongs to the page."""
    frontend = checkout / "frontend"
    return {
        str(path.relative_to(frontend)): path.read_bytes()
        for path in frontend.rglob("*")
        if path.is_file() and "node_modules" not in path.parts and path.name not in NOT_SERVED
    }


def fetch(address: str) -> bytes:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(address, timeout=program.DEADLINE_S) as answer:
        content: bytes = answer.read()
    return content


def assert_serves_the_page(page: str, checkout: Path = readme.ROOT) -> None:
    for name, content in page_files(checkout).items():
        assert fetch(f"{page}/{name}") == content, name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(directory), "."]
    subprocess.run(command, cwd=readme.ROOT, check=True, timeout=300)
    (built,) = directory.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_the_page_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {info.filename: archive.read(info) for info in archive.infolist() if ".dist-info/" not in info.filename}
    static = {name.removeprefix(STATIC): content for name, content in held.items() if name.startswith(STATIC)}
    assert static == page_files()
    modules = {name for name in held if not name.startswith(STATIC)}
    backend = readme.ROOT / "backend"
    assert modules == {
        str(path.relative_to(backend))
        for path in (backend / "udprism").rglob("*")
        if path.suffix in {".py", ".toml", ".c", ".lua"} or path.name == "py.typed"
    }


def test_the_wheel_serves_the_page(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    with program.serving(tmp_path / "data", PYTHONPATH=str(tmp_path / "installed")) as served:
        assert_serves_the_page(served.page)


def test_the_checkout_serves_the_page(tmp_path: Path) -> None:
    with program.serving(tmp_path / "data") as served:
        assert_serves_the_page(served.page)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_first_command_of_the_readme_works_in_an_empty_folder(tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", str(readme.ROOT), str(tmp_path / "udprism")], check=True, timeout=60)
    environment = {
        **os.environ,
        "UDPRISM_UDP": "127.0.0.1:0",
        "UDPRISM_HTTP": "127.0.0.1:0",
        "UDPRISM_DATA": str(tmp_path / "data"),
        "PYTHONUNBUFFERED": "1",
    }
    with subprocess.Popen(
        ["sh", "-c", readme.block("serve")],
        cwd=tmp_path / "udprism",
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        assert shell.stdout is not None
        try:
            page = next(found[1] for line in shell.stdout if (found := re.search(r"page +(http://\S+)", line)))
            assert_serves_the_page(page.rstrip("/"), tmp_path / "udprism")
            os.killpg(shell.pid, signal.SIGINT)
            shell.stdout.read()
            shell.wait(program.DEADLINE_S)
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGKILL)
