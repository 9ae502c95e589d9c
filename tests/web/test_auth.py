"""The token beyond loopback: comes once in the address, then as a cookie or bearer, and is seen nowhere else."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus

from udprism.web.app import create_app
from udprism.web.auth import is_loopback, needs_token, page_url, with_token
from web.fake_bridge import FakeBridge
from web.running import Running, ephemeral, running

TOKEN = "correct-horse_battery-staple"
WRONG = ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "höher", "\x00"]


@pytest.fixture(scope="module")
def here() -> Iterator[Running]:
    with running(FakeBridge(ephemeral(http="0.0.0.0:8000", token=TOKEN), first_clients=2)) as served:
        yield served


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    settings = ephemeral(http=f"[{host}]:8000" if ":" in host else f"{host}:8000")
    assert with_token(settings) is settings


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "[::]", "lights.example", "[fe80::1]"])
def test_any_other_bind_gets_a_token_of_its_own(host: str) -> None:
    settings = ephemeral(http=f"{host}:8000")
    assert needs_token(settings)
    one, other = with_token(settings).token, with_token(settings).token
    assert one is not None
    assert len(one) >= 32
    assert one != other


def test_given_token_is_kept() -> None:
    settings = ephemeral(http="0.0.0.0:8000", token=TOKEN)
    assert with_token(settings) is settings


@pytest.mark.parametrize("token", [None, ""])
def test_app_beyond_loopback_without_token_is_not_made(token: str | None) -> None:
    bridge = FakeBridge(ephemeral(http="0.0.0.0:8000", token=token))
    with pytest.raises(ValueError, match="with_token"):
        create_app(bridge).build_middleware_stack()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("http", "url"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8123/"),
        ("0.0.0.0:8000", "http://127.0.0.1:8123/?token=a%2Bb"),
        ("[::]:8000", "http://[::1]:8123/?token=a%2Bb"),
        ("lights.example:8000", "http://lights.example:8123/?token=a%2Bb"),
    ],
)
def test_address_of_the_page_is_one_to_click(http: str, url: str) -> None:
    token = "a+b" if "token" in url else None
    assert page_url(ephemeral(http=http, token=token), 8123) == url


def test_token_given_on_loopback_is_asked_for_as_well() -> None:
    with running(FakeBridge(ephemeral(token=TOKEN))) as served, served.client() as client:
        assert client.get("/api/clients").status_code == 401


@pytest.mark.parametrize("path", ["/", "/style.css", "/api/clients", "/metrics", "/api/openapi.json", "/no"])
def test_nothing_is_served_without_token(here: Running, path: str) -> None:
    with here.client() as client:
        answer = client.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["type"] == "urn:udprism:problem:token"


def test_whoever_restarts_dead_processes_needs_none(here: Running) -> None:
    with here.client() as client:
        assert client.get("/livez").status_code == 200


def test_probe_without_token_learns_which_check_fails_and_not_why(here: Running) -> None:
    with here.client() as client:
        ready = client.get("/readyz")
        here.bridge.down = True
        try:
            probed = client.get("/readyz")
            trusted = client.get("/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
            wrong = client.get("/readyz", headers={"Authorization": "Bearer wrong"})
        finally:
            here.bridge.down = False
    assert [answer.status_code for answer in (ready, probed, trusted, wrong)] == [200, 503, 503, 503]
    assert {"name": "pool", "ok": False, "detail": None, "fatal": True} in probed.json()["checks"]
    assert "no heartbeat" in trusted.text
    assert "no heartbeat" not in probed.text + wrong.text


def test_script_sends_the_token_as_bearer(here: Running) -> None:
    with here.client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        assert client.get("/api/clients").json()["total"] == 2
        assert client.post("/api/clients", json={}).status_code == 201
        assert client.delete("/api/clients").status_code == 200


@pytest.mark.parametrize("wrong", [wrong for wrong in WRONG if wrong and wrong.isprintable()])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic"])
def test_wrong_bearer_is_refused(here: Running, wrong: str, scheme: str) -> None:
    with here.client() as client:
        headers = [(b"authorization", f"{scheme} {wrong}".encode())]
        assert client.get("/api/clients", headers=headers).status_code == 401


def test_right_token_under_another_scheme_is_refused(here: Running) -> None:
    with here.client() as client:
        assert client.get("/api/clients", headers={"Authorization": f"Basic {TOKEN}"}).status_code == 401


def test_address_with_token_gives_a_cookie_and_leads_to_the_clean_address(here: Running) -> None:
    with here.client() as client:
        answer = client.get(f"/?view=wall&token={TOKEN}&q=a%26b")
        assert answer.status_code == 303
        assert answer.headers["location"] == "./?view=wall&q=a%26b"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie  # a link in a chat leads in
        assert "path=" not in cookie  # the browser's own, which a proxy may have put a prefix before
        assert TOKEN not in cookie
        assert client.get("/api/clients").status_code == 200


def test_address_with_token_cannot_lead_to_another_host(here: Running) -> None:
    with here.raw() as sock:
        sock.sendall(f"GET //evil.example/?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = sock.recv(65_536).decode()
    assert "location: ./\r\n" in head


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_token_in_the_address_is_refused(here: Running, wrong: str) -> None:
    with here.client() as client:
        answer = client.get("/", params={"token": wrong})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("wrong", ["wrong", ""])
def test_wrong_cookie_is_refused(here: Running, wrong: str) -> None:
    with here.client(cookies={cookie_name(here): wrong}) as client:
        assert client.get("/api/clients").status_code == 401


def cookie_name(served: Running) -> str:
    """As it is named there."""
    return f"udprism-{served.bridge.identity}"


def cookies(served: Running) -> dict[str, str]:
    """As a browser has them that was there with the token."""
    with served.client() as client:
        client.get("/", params={"token": TOKEN})
        return dict(client.cookies)


def test_token_itself_is_no_cookie(here: Running) -> None:
    with here.client(cookies={cookie_name(here): TOKEN}) as client:
        assert client.get("/api/clients").status_code == 401


def test_two_servers_on_one_host_and_port_do_not_sign_each_other_out(here: Running) -> None:
    # As behind `docker -p` or `ssh -L`: the port that is bound says nothing.
    with running(FakeBridge(ephemeral(http="0.0.0.0:8000", token=TOKEN))) as other:
        theirs, ours = cookies(other), cookies(here)
        assert len(theirs | ours) == 2
        for served in (here, other):
            with served.client(cookies=theirs | ours) as client:
                assert client.get("/api/clients").status_code == 200


def test_cookie_is_of_the_data_directory_and_outlives_a_restart() -> None:
    first, again = (FakeBridge(ephemeral(http="0.0.0.0:8000", token=TOKEN)) for _ in range(2))
    again.identity = first.identity
    with running(first) as served:
        kept = cookies(served)
    with running(again) as served, served.client(cookies=kept) as client:
        assert client.get("/api/clients").status_code == 200


def test_cookies_of_servers_that_have_gone_do_not_pile_up(here: Running) -> None:
    old = {f"udprism-{number:08x}": "x" for number in range(16)}
    with here.client(cookies=old) as client:
        answer = client.get("/", params={"token": TOKEN})
    gone = [one for one in answer.headers.get_list("set-cookie") if "Max-Age=0" in one]
    assert len(gone) == 16
    assert not any(cookie_name(here) in one for one in gone)


def test_cookie_does_not_help_another_page(here: Running) -> None:
    with here.client(cookies=cookies(here)) as client:
        assert client.delete("/api/clients", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize("given", [f"{TOKEN}\n", f"  {TOKEN}\r\n", "Schlüssel", "ключ", "鍵; x=y", 'a"b\\c'])
def test_any_printable_token_opens_the_page_and_the_api(given: str) -> None:
    settings = ephemeral(http="0.0.0.0:8000", token=given)
    assert settings.token == given.strip()
    with running(FakeBridge(settings)) as served:
        with served.client() as client:
            assert client.get("/", params={"token": given}).status_code == 303
            assert client.get("/api/clients").status_code == 200
        with served.client() as client:
            bearer = [(b"authorization", f"Bearer {given.strip()}".encode())]
            assert client.get("/api/clients", headers=bearer).status_code == 200
            assert client.get("/api/clients", headers=[(b"authorization", b"Bearer \xff\xfe")]).status_code == 401


def test_form_for_the_token_keeps_path_and_query(here: Running) -> None:
    with here.client(headers={"Accept": "text/html"}) as client:
        answer = client.get("/", params={"view": "wall", "find": '"><script>', "token": "wrong"})
    assert answer.status_code == 401
    assert "action=" not in answer.text  # then a form sends to the address that it came from
    assert '<input type="hidden" name="view" value="wall">' in answer.text
    assert '<input type="hidden" name="find" value="&quot;&gt;&lt;script&gt;">' in answer.text
    assert "wrong" not in answer.text


def test_person_without_token_is_asked_for_it(here: Running) -> None:
    with here.client() as client:
        answer = client.get("/", headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert '<input name="token"' in answer.text
    assert "style=" not in answer.text


def test_websocket_needs_the_token_too(here: Running) -> None:
    for path in ("/ws/live", f"/ws/live?token={TOKEN}", "/ws/clients/c-00000001"):
        with pytest.raises(InvalidStatus) as refused, here.viewer(path):
            pass
        assert refused.value.response.status_code == 401
    for header in (
        {"Authorization": f"Bearer {TOKEN}"},
        {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies(here).items())},
    ):
        with here.viewer(additional_headers=header) as viewer:
            assert json.loads(viewer.recv())["type"] == "hello"


def test_token_is_seen_nowhere(here: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the test's own client logs what it asks for
    answers = []
    with here.client() as client:
        for path in (f"/?token={TOKEN}", f"/api/nothing?token={TOKEN}", f"/api/clients?limit=0&token={TOKEN}"):
            answers += [client.get(path), client.get(path, headers={"Host": "evil.example"})]
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        answers += [client.get("/metrics"), client.get("/readyz"), client.get("/api/openapi.json")]
        answers += [client.post(f"/api/clients?token={TOKEN}", json={"name": 1})]
    with pytest.raises(InvalidStatus), here.viewer(f"/ws/live?token={TOKEN}"):
        pass
    for answer in answers:
        assert TOKEN not in answer.text
        assert not [value for name, value in answer.headers.items() if TOKEN in value and name != "set-cookie"]
    ours = [record for record in caplog.records if record.name.startswith(("uvicorn", "udprism", "fastapi"))]
    assert not [record for record in ours if TOKEN in record.getMessage()]
