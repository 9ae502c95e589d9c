"""What other pages in a browser may not do: each attack works without the gate, and not through it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest
from starlette.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from udprism.settings import Settings, origin
from udprism.web.gate import is_cross_origin, is_known_host, known_hosts
from web.fake_bridge import FakeBridge
from web.running import Running, ephemeral, running, running_plain


@pytest.fixture(scope="module")
def here() -> Iterator[Running]:
    with running(FakeBridge(first_clients=2)) as served:
        yield served


@pytest.fixture(scope="module")
def plain() -> Iterator[Running]:
    with running_plain(FakeBridge(first_clients=2)) as served:
        yield served


KNOWN = known_hosts(Settings(http="127.0.0.1:8000", allow_host=["Lights.example"]))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "127.0.0.1",
        "localhost:8000",
        "LOCALHOST:8000",
        "localhost:9000",  # a forwarded port
        "[::1]:8000",
        "lights.example",
        "LIGHTS.example:443",
    ],
)
def test_known_host_is_known_by_its_exact_name(host: str) -> None:
    assert is_known_host([host], KNOWN)


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["evil.example"],
        ["localhost", "localhost"],
        ["localhost.evil.example"],
        ["evil.example:8000"],
        ["evil-localhost"],
        ["127.0.0.1.evil.example"],
        ["127.0.0.1:8000@evil.example"],
        ["localhost, evil.example"],
        ["localhost:8000:80"],
        ["localhost/evil"],
        ["localhost."],
        ["2130706433"],
        ["127.1"],
        ["[::1"],
        ["[localhost]"],
        ["::1"],
        ["localhost:80 "],
        ["localhost:port"],
        ["*"],
        ["lights.example.evil"],
    ],
)
def test_any_other_host_is_not(hosts: list[str]) -> None:
    assert not is_known_host(hosts, KNOWN)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1:1@evil.example"])
def test_rebound_name_is_refused(here: Running, host: str) -> None:
    with here.client() as client:
        answer = client.get("/api/clients", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["type"] == "urn:udprism:problem:host"
    assert "evil" not in answer.text


def test_rebound_name_is_served_without_the_gate(plain: Running) -> None:
    with plain.client() as client:
        assert client.get("/api/clients", headers={"Host": "evil.example"}).json()["total"] == 2


def test_request_without_host_or_with_two_is_refused(here: Running) -> None:
    for head in (b"GET / HTTP/1.0\r\n", b"GET / HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n"):
        with here.raw() as sock:
            sock.sendall(head + b"\r\n")
            assert sock.recv(65_536).startswith(b"HTTP/1.1 421 ")


@pytest.mark.parametrize("path", [b"/livez", b"/readyz"])
def test_supervisor_that_sends_no_host_is_answered(here: Running, path: bytes) -> None:
    with here.raw() as sock:
        sock.sendall(b"GET " + path + b" HTTP/1.0\r\n\r\n")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200 ")
    with here.client() as client:
        assert client.get(path.decode(), headers={"Host": "evil.example"}).status_code == 421


READABLE = (
    "/",
    "/style.css",
    "/livez",
    "/readyz",
    "/metrics",
    "/api/clients",
    "/api/ledger",
    "/api/openapi.json",
    "/no",
)


def test_head_says_what_get_says_but_for_the_body() -> None:
    with running() as served, served.client() as client:
        for path in READABLE:
            head, get = client.head(path), client.get(path)
            assert head.status_code == get.status_code
            assert head.content == b""
            assert head.headers["content-type"] == get.headers["content-type"]
            assert head.headers["content-length"].isdecimal()


def test_methods_that_are_named_include_head() -> None:
    with running() as served, served.client() as client:
        for path in ("/livez", "/api/ledger", "/style.css"):
            answer = client.put(path)
            assert answer.status_code == 405
            assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize("path", ["/lab/api/clients", "/api/clients", "/lab/", "/lab/style.css"])
def test_path_of_a_proxy_is_taken_off_where_the_proxy_leaves_it_on(path: str) -> None:
    with running(FakeBridge(ephemeral(http_path="/lab/"))) as served, served.client() as client:
        assert client.get(path).status_code == 200
        assert client.get("/laboratory").status_code == 404
        answer = client.get("/lab?view=wall")
        assert (answer.status_code, answer.headers["location"]) == (308, "./lab/?view=wall")


def test_address_that_the_connection_came_in_on_is_known(here: Running) -> None:
    with here.client() as client:
        assert client.get("/livez", headers={"Host": "127.0.0.1:1"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "is_safe", "crosses"),
    [
        ({}, False, False),  # curl
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost:8000"}, False, False),
        ({"sec-fetch-site": "none"}, False, False),
        ({"sec-fetch-site": "cross-site"}, False, True),
        ({"sec-fetch-site": "same-site"}, False, True),
        ({"sec-fetch-site": "rubbish"}, False, True),
        ({"sec-fetch-site": ""}, False, True),
        ({"sec-fetch-site": "cross-site", "origin": "http://localhost:8000"}, False, True),
        ({"origin": "http://localhost:8000"}, False, False),  # an older browser
        ({"origin": "HTTP://LOCALHOST:8000"}, False, False),
        ({"origin": "https://localhost:8000"}, False, False),  # TLS ends before us
        ({"origin": "http://localhost:8001"}, False, True),
        ({"origin": "http://localhost"}, False, True),
        ({"host": "lab.example:443", "origin": "https://lab.example"}, False, False),  # default ports are left out
        ({"host": "lab.example", "origin": "https://lab.example"}, False, False),
        ({"host": "lab.example:80", "origin": "http://lab.example"}, False, False),
        ({"host": "lab.example", "origin": "http://lab.example:80"}, False, False),
        ({"host": "[2001:DB8:0::1]:443", "origin": "https://[2001:db8::1]"}, False, False),
        ({"host": "lab.example:80", "origin": "https://lab.example"}, False, True),
        ({"host": "lab.example:443", "origin": "http://lab.example"}, False, True),
        ({"host": "lab.example:443", "origin": "https://lab.example:8443"}, False, True),
        ({"origin": "https://user@localhost:8000"}, False, True),
        ({"origin": "http://localhost:8000/"}, False, True),
        ({"origin": "http://localhost:99999"}, False, True),
        ({"origin": "ftp://localhost:8000"}, False, True),
        ({"origin": "http://evil.example"}, False, True),
        ({"origin": "http://localhost:8000.evil.example"}, False, True),
        ({"origin": "http://evil.example/http://localhost:8000"}, False, True),
        ({"origin": "null"}, False, True),
        ({"origin": ""}, False, True),
        ({"origin": "file://"}, False, True),
        ({"sec-fetch-site": "cross-site"}, True, False),  # a link to the page
        ({"origin": "http://evil.example"}, True, True),
        ({"origin": "null"}, True, True),
    ],
)
def test_cross_origin_requests_are_told_from_our_own(headers: dict[str, str], is_safe: bool, crosses: bool) -> None:
    assert is_cross_origin(Headers({"host": "localhost:8000", **headers}), is_safe=is_safe) is crosses


@pytest.mark.parametrize(
    ("headers", "crosses"),
    [
        ({"origin": "https://lab.example"}, False),
        ({"origin": "https://lab.example:443", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://lab.example"}, True),
        ({"origin": "https://lab.example:8443"}, True),
        ({"origin": "https://other.example"}, True),
        ({"origin": "null"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
    ],
)
def test_origin_that_was_named_may_do_all(headers: dict[str, str], crosses: bool) -> None:
    trusted = {origin("https://lab.example")}
    assert is_cross_origin(Headers({"host": "127.0.0.1:8000", **headers}), is_safe=False, trusted=trusted) is crosses


def test_origin_that_was_named_is_known_as_host_too() -> None:
    known = known_hosts(Settings(allow_origin=["https://Lab.example:8443", "http://[2001:db8:0::1]"]))
    assert is_known_host(["lab.example"], known)
    assert is_known_host(["[2001:db8::1]:80"], known)


def test_refusal_of_another_origin_says_what_a_proxy_must_pass_on(here: Running) -> None:
    with here.client() as client:
        detail = client.post("/api/clients", headers={"Origin": "https://lab.example"}).json()["detail"]
    assert "Host" in detail
    assert "--allow-origin" in detail


FORGED = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
]


@pytest.mark.parametrize("headers", FORGED)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_forged_request_is_refused_and_changes_nothing(here: Running, method: str, headers: dict[str, str]) -> None:
    with here.client() as client:
        for path in ("/api/clients", "/api/links/default", "/"):
            answer = client.request(method, path, headers=headers, json={})
            assert answer.status_code == 403
            assert answer.json()["type"] == "urn:udprism:problem:origin"
        assert client.get("/api/clients").json()["total"] == 2


def test_forged_request_works_without_the_gate(plain: Running) -> None:
    with plain.client() as client:
        assert client.delete("/api/links", headers={"Origin": "http://evil.example"}).status_code == 204


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_form_of_any_page_is_no_json(here: Running, content_type: str) -> None:
    with here.client() as client:
        answer = client.post("/api/clients", content=b'{"count":1}', headers={"Content-Type": content_type})
        assert answer.status_code == 415
        assert client.get("/api/clients").json()["total"] == 2


@pytest.mark.parametrize("path", ["/ws/live", "/ws/clients/c-00000001", "/ws/nothing"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 421),
    ],
)
def test_foreign_page_gets_no_websocket(here: Running, path: str, headers: dict[str, str], status: int) -> None:
    with pytest.raises(InvalidStatus) as refused, handshake(here, path, headers):
        pass
    assert refused.value.response.status_code == status


def handshake(where: Running, path: str, headers: dict[str, str]) -> ClientConnection:
    """A handshake as a browser makes it for another page."""
    if "Host" in headers:
        sock = where.raw()
        return connect(f"ws://{headers['Host']}{path}", sock=sock, proxy=None)
    return where.viewer(path, additional_headers=headers)


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
def test_foreign_page_gets_a_websocket_without_the_gate(plain: Running, headers: dict[str, str]) -> None:
    with handshake(plain, "/ws/live", headers) as viewer:
        assert viewer.recv()


def test_own_page_gets_a_websocket(here: Running) -> None:
    headers = {"Origin": f"http://{here.address}", "Sec-Fetch-Site": "same-origin"}
    with here.viewer(additional_headers=headers) as viewer:
        assert viewer.recv()


def test_body_over_the_limit_is_refused_before_it_is_read(here: Running) -> None:
    with here.client() as client:
        answer = client.post("/api/clients", content=b"x" * (64 << 10) + b"x")
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:udprism:problem:too-large"


def test_chunked_body_over_the_limit_is_refused(here: Running) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(9):
            yield b"x" * 8_192

    with here.client() as client:
        answer = client.post("/api/clients", content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:udprism:problem:too-large"


def test_large_bodies_are_read_without_the_gate(plain: Running) -> None:
    with plain.client() as client:
        assert client.post("/api/clients", content=b"x" * 10_000_000).status_code != 413


def test_every_answer_carries_the_security_headers() -> None:
    with running() as served, served.client() as client:
        for path in ("/livez", "/api/clients", "/api/nothing", "/nothing", "/", "/api/openapi.json"):
            hold_headers(client.get(path))
            hold_headers(client.put(path))
            hold_headers(client.post(path, headers={"Origin": "http://evil.example"}))


def hold_headers(answer: httpx.Response) -> None:
    """What protects the page from others, and others from the page."""
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_answers_of_the_api_are_not_stored(here: Running) -> None:
    with here.client() as client:
        assert client.get("/api/clients").headers["cache-control"] == "no-store"


def test_preflight_gets_no_permission(here: Running) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "DELETE"}
    with here.client() as client:
        answer = client.options("/api/clients", headers=asked)
    assert answer.status_code == 403


def test_forwarded_headers_of_anybody_are_not_believed(here: Running) -> None:
    forged = {"X-Forwarded-Host": "localhost", "X-Forwarded-For": "127.0.0.1", "Forwarded": "host=localhost"}
    with here.client() as client:
        assert client.get("/livez", headers={"Host": "evil.example", **forged}).status_code == 421


def test_machines_name_is_known_only_beyond_loopback() -> None:
    name = socket.gethostname().lower()
    assert name in known_hosts(ephemeral(http="0.0.0.0:8000"))
    assert name not in known_hosts(ephemeral(http="127.0.0.1:8000")) or name == "localhost"
