"""The page's files, and how the server starts and ends."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from udprism.errors import BindError
from udprism.web import app
from udprism.web.app import listen, static_directory
from web.running import Running, ephemeral, next_frame, running, wait_for


@pytest.fixture
def here() -> Iterator[Running]:
    with running() as served:
        yield served


def test_page_is_found() -> None:
    assert (static_directory() / "index.html").is_file()


def test_installed_package_holds_the_page_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import udprism

    (tmp_path / "static").mkdir()
    monkeypatch.setattr(udprism, "__file__", str(tmp_path / "__init__.py"))
    assert static_directory() == tmp_path / "static"


def test_every_file_of_the_page_has_the_type_that_browsers_insist_on(here: Running) -> None:
    types = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    files = [
        path for path in static_directory().rglob("*") if path.suffix in types and "node_modules" not in path.parts
    ]
    assert {path.suffix for path in files} >= {".html", ".css", ".js"}
    with here.client() as client:
        for path in files:
            answer = client.get("/" + path.relative_to(static_directory()).as_posix())
            assert answer.status_code == 200, path
            assert answer.headers["content-type"].split(";")[0] == types[path.suffix]
            assert answer.headers["cache-control"] == "no-cache"


def test_unchanged_file_is_not_sent_again(here: Running) -> None:
    with here.client() as client:
        first = client.get("/")
        again = client.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/../pyproject.toml", "/%2e%2e/pyproject.toml", "/modules/..%2f..%2fpyproject.toml"])
def test_nothing_beside_the_page_is_served(here: Running, path: str) -> None:
    with here.raw() as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert sock.recv(65_536).startswith(b"HTTP/1.1 404 ")


def test_page_asks_for_nothing_that_its_policy_forbids(here: Running) -> None:
    with here.client() as client:
        text = client.get("/").text
    assert not re.search(r"<script(?![^>]*\bsrc=)", text), "a script inline"
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", text), "a style or handler inline"
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text), "something from elsewhere"


def test_port_in_use_is_said_with_its_number_and_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"127.0.0.1:{port}.*TCP"):
            listen(ephemeral(http=f"127.0.0.1:{port}"))


def test_name_with_an_address_of_another_machine_is_listened_on_at_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    elsewhere = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [elsewhere, here, here])
    (sock,) = listen(ephemeral(http="lights.example:8000", token="t"))
    with sock:
        assert sock.getsockname()[0] == "127.0.0.1"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [elsewhere])
    with pytest.raises(BindError, match=r"lights\.example:8000"):
        listen(ephemeral(http="lights.example:8000", token="t"))


def test_host_that_does_not_resolve_cannot_be_listened_on() -> None:
    with pytest.raises(BindError, match=r"nowhere\.invalid"):
        listen(ephemeral(http="nowhere.invalid:8000"))


def test_ipv6_is_listened_on_as_well() -> None:
    try:
        (sock,) = listen(ephemeral(http="[::1]:0"))
    except BindError:
        pytest.skip("no IPv6 here")
    with sock:
        assert sock.getsockname()[0] == "::1"


def test_all_of_ipv6_is_all_of_ipv4_too_on_one_port() -> None:
    try:
        sockets = listen(ephemeral(http="[::]:0", token="t"))
    except BindError:
        pytest.skip("no IPv6 here")
    try:
        assert {sock.getsockname()[0] for sock in sockets} == {"::", "0.0.0.0"}
        (port,) = {sock.getsockname()[1] for sock in sockets}
        socket.create_connection(("127.0.0.1", port)).close()
        socket.create_connection(("::1", port)).close()
    finally:
        for sock in sockets:
            sock.close()


def test_the_server_ends_when_it_is_told_to_and_not_when_it_looks_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_TICK_S", 3600.0)
    with running() as here, here.viewer() as viewer:
        viewer.recv()


def test_shutdown_ends_viewers_with_a_reason_and_at_once() -> None:
    with running() as here, here.viewer() as viewer:
        viewer.recv()
        next_frame(viewer)
        here.server.should_exit = True
        with pytest.raises(ConnectionClosed) as closed:
            viewer.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        wait_for(lambda: here.connections == 0)
