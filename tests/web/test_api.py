"""The REST API over real HTTP: what it answers, and how it refuses."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from udprism.link.profiles import PROFILES
from udprism.web import messages
from udprism.web.answers import DATAGRAM_FIELDS, list_answer
from web.fake_bridge import FakeBridge
from web.running import Clock, Running, ephemeral, running, wait_for

CLOCK = Clock()


@pytest.fixture(scope="module")
def here() -> Iterator[Running]:
    with running(FakeBridge(ephemeral(max_clients=50), unix_ns=CLOCK)) as served:
        yield served


@pytest.fixture
def api(here: Running) -> Iterator[httpx.Client]:
    asyncio.run(here.bridge.clients.remove_many())
    asyncio.run(here.bridge.links.clear())
    with here.client() as client:
        yield client


def add(api: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    """Clients, made."""
    answer = api.post("/api/clients", json=body)
    assert answer.status_code == 201, answer.text
    clients: list[dict[str, Any]] = answer.json()["clients"]
    return clients


def problem(answer: httpx.Response, status: int, kind: str, field: str | None) -> dict[str, Any]:
    """Hold an answer to be this problem; its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:udprism:problem:{kind}"
    assert body["status"] == status
    assert body["field"] == field
    assert body["detail"]
    assert body["title"]
    return body


# clients


@pytest.mark.parametrize("lists", [[], [[1]], [[1, 2], ["é"], [{"a": None}]]])
def test_a_long_list_leaves_in_pieces_that_are_let_go_and_add_up_to_its_length(lists: list[list[Any]]) -> None:
    items = [messages.items(some) for some in lists]
    response = list_answer("some", items, 201)

    async def body() -> list[bytes]:
        return [piece async for piece in response.body_iterator if isinstance(piece, bytes)]

    pieces = asyncio.run(body())
    assert json.loads(b"".join(pieces)) == {"some": [one for some in lists for one in some]}
    assert int(response.headers["content-length"]) == sum(map(len, pieces))
    assert not items


def test_client_is_made_with_nothing_said(api: httpx.Client) -> None:
    (made,) = api.post("/api/clients").json()["clients"]
    assert made["rate_hz"] == 10
    assert made["target"] == "127.0.0.1:12345"
    assert made["state"] == "live"
    assert api.post("/api/clients", json=None).status_code == 201
    assert api.get("/api/clients").json()["total"] == 2


def test_client_is_made_as_said(api: httpx.Client) -> None:
    said = {"name": "north wall ☂", "target": "localhost:9999", "rate_hz": 25, "colours": 3, "mode": "plain"}
    (made,) = add(api, **said)
    assert {key: made[key] for key in said} == said
    assert api.get(f"/api/clients/{made['id']}").json() == made


def test_many_clients_are_made_at_once_with_names_of_their_own(api: httpx.Client) -> None:
    made = add(api, name="north", count=12)
    assert len({client["name"] for client in made}) == 12
    assert all(client["name"].startswith("north-") for client in made)


REFUSED: dict[str, tuple[Any, str | None]] = {
    "unknown field": ({"naem": "x"}, "naem"),
    "empty name": ({"name": ""}, "name"),
    "long name": ({"name": "x" * 65}, "name"),
    "name with a line feed": ({"name": "a\nb"}, "name"),
    "name with a right-to-left override": ({"name": "a\u202eb"}, "name"),
    "name with a lone surrogate": ({"name": "\ud800"}, "name"),
    "name with spaces around": ({"name": " a"}, "name"),
    "number as name": ({"name": 7}, "name"),
    "rate of zero": ({"rate_hz": 0}, "rate_hz"),
    "rate too high": ({"rate_hz": 1000.1}, "rate_hz"),
    "rate as text": ({"rate_hz": "10"}, "rate_hz"),
    "rate as truth": ({"rate_hz": True}, "rate_hz"),
    "no colours": ({"colours": 0}, "colours"),
    "too many colours": ({"colours": 481}, "colours"),
    "half a colour": ({"colours": 1.5}, "colours"),
    "unknown mode": ({"mode": "fast"}, "mode"),
    "no clients": ({"count": 0}, "count"),
    "clients as text": ({"count": "3"}, "count"),
    "null count": ({"count": None}, "count"),
    "list": ([], None),
    "text": ("count", None),
    "target without port": ({"target": "127.0.0.1"}, "target"),
    "target that does not resolve": ({"target": "nowhere.invalid:9999"}, "target"),
    "target elsewhere": ({"target": "192.0.2.1:9999"}, "target"),
    "privileged target": ({"target": "127.0.0.1:53"}, "target"),
}
NOT_ALLOWED = ("target elsewhere", "privileged target")


@pytest.mark.parametrize("case", REFUSED)
def test_bad_body_is_refused_with_its_field_and_adds_nothing(api: httpx.Client, case: str) -> None:
    body, field = REFUSED[case]
    content = json.dumps(body)
    answer = api.post("/api/clients", content=content, headers={"Content-Type": "application/json"})
    problem(answer, *((403, "target-not-allowed") if case in NOT_ALLOWED else (422, "invalid")), field)
    assert api.get("/api/clients").json()["total"] == 0


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_number_that_is_none_is_refused(api: httpx.Client, number: str) -> None:
    content = f'{{"rate_hz": {number}}}'
    answer = api.post("/api/clients", content=content, headers={"Content-Type": "application/json"})
    problem(answer, 422, "invalid", "rate_hz")


@pytest.mark.parametrize("content", ["{", "nul", "[" * 30_000, '{"count": ' + "9" * 30_000 + "}", b"\xff\xfe", "{}{}"])
def test_body_that_is_no_json_is_refused(api: httpx.Client, content: str | bytes) -> None:
    answer = api.post("/api/clients", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code, "invalid", None)


def test_every_fault_of_a_body_is_named(api: httpx.Client) -> None:
    body = problem(api.post("/api/clients", json={"rate_hz": 0, "colours": 0, "x": 1}), 422, "invalid", "rate_hz")
    assert [one["field"] for one in body["errors"]] == ["rate_hz", "colours", "x"]
    assert "0.01" in body["errors"][0]["detail"]
    assert "no such field" in body["errors"][2]["detail"]


def test_body_with_thousands_of_faults_gets_a_short_answer(api: httpx.Client) -> None:
    answer = api.post("/api/clients", json={f"unknown-{number}": 1 for number in range(3_000)})
    assert len(answer.content) < 4_000


def test_refusal_never_says_what_could_act_as_markup(api: httpx.Client) -> None:
    markup = "<img src=x onerror=alert(1)>&"
    answers = [
        api.post("/api/clients", json={markup: 1}),
        api.post("/api/clients", json={"name": markup * 10, "target": markup}),
        api.post("/api/clients", json={"target": markup}),
        api.get(f"/api/clients/{markup}"),
        api.get("/api/clients", params={"state": markup, markup: markup}),
        api.put(f"/api/links/{markup}", json={markup: markup}),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        assert not set("<>&") & set(answer.text)


def test_too_many_clients_are_refused_whole(api: httpx.Client) -> None:
    add(api, count=45)
    problem(api.post("/api/clients", json={"count": 6}), 409, "too-many-clients", "count")
    assert api.get("/api/clients").json()["total"] == 45


def test_name_that_is_taken_is_refused(api: httpx.Client) -> None:
    add(api, name="north")
    problem(api.post("/api/clients", json={"name": "north"}), 409, "name-taken", "name")


def test_list_is_paged_and_filtered(api: httpx.Client) -> None:
    add(api, name="north", count=10)
    add(api, name="south", count=5)
    page = api.get("/api/clients", params={"offset": 2, "limit": 3}).json()
    assert page["total"] == 15
    assert len(page["clients"]) == 3
    assert api.get("/api/clients", params={"query": "south"}).json()["total"] == 5
    assert api.get("/api/clients", params={"state": "paused"}).json()["clients"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"offset": -1}, "offset"),
        ({"state": "asleep"}, "state"),
        ({"query": "x" * 65}, "query"),
        ({"sort": "name"}, "sort"),
    ],
)
def test_bad_query_is_refused_with_its_field(api: httpx.Client, query: dict[str, Any], field: str) -> None:
    problem(api.get("/api/clients", params=query), 422, "invalid", field)


def test_change_touches_only_what_it_names(api: httpx.Client) -> None:
    (made,) = add(api, name="north", rate_hz=5)
    changed = api.patch(f"/api/clients/{made['id']}", json={"paused": True}).json()
    assert changed["state"] == "paused"
    assert (changed["name"], changed["rate_hz"]) == ("north", 5)
    assert api.patch(f"/api/clients/{made['id']}", json={}).json()["state"] == "paused"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": None}, "name"),
        ({"rate_hz": None}, "rate_hz"),
        ({"paused": 1}, "paused"),
        ({"rate_hz": 2000}, "rate_hz"),
        ({"target": "127.0.0.1:9999"}, "target"),
        ({"id": "c-other"}, "id"),
        (None, None),
    ],
)
def test_bad_change_is_refused_with_its_field(api: httpx.Client, changes: Any, field: str | None) -> None:
    (made,) = add(api, name="north")
    content = json.dumps(changes)
    headers = {"Content-Type": "application/json"}
    answer = api.patch(f"/api/clients/{made['id']}", content=content, headers=headers)
    problem(answer, 422, "invalid", field)
    assert api.get(f"/api/clients/{made['id']}").json()["name"] == "north"


def test_one_client_is_removed(api: httpx.Client) -> None:
    (made,) = add(api)
    assert api.delete(f"/api/clients/{made['id']}").status_code == 204
    problem(api.get(f"/api/clients/{made['id']}"), 404, "not-found", None)
    problem(api.delete(f"/api/clients/{made['id']}"), 404, "not-found", None)


def test_named_clients_are_removed_or_all_of_them(api: httpx.Client) -> None:
    made = add(api, count=5)
    ids = [client["id"] for client in made]
    assert api.delete("/api/clients", params={"id": ids[:2]}).json() == {"removed": 2}
    assert [client["id"] for client in api.get("/api/clients").json()["clients"]] == ids[2:]
    assert api.delete("/api/clients").json() == {"removed": 3}


def test_misspelt_removal_removes_nothing(api: httpx.Client) -> None:
    made = add(api, count=3)
    problem(api.delete("/api/clients", params={"ids": made[0]["id"]}), 422, "invalid", "ids")
    assert api.get("/api/clients").json()["total"] == 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/clients/c-nobody"),
        ("PATCH", "/api/clients/c-nobody"),
        ("DELETE", "/api/clients/c-nobody"),
        ("GET", "/api/clients/c-nobody/datagrams"),
        ("DELETE", "/api/sessions/s-nobody"),
        ("GET", "/api/links/c-nobody"),
        ("PUT", "/api/links/c-nobody"),
        ("DELETE", "/api/links/c-nobody"),
    ],
)
def test_unknown_id_is_not_found(api: httpx.Client, method: str, path: str) -> None:
    problem(api.request(method, path, json={} if method in ("PATCH", "PUT") else None), 404, "not-found", None)


# datagrams


@pytest.fixture
def lossy(api: httpx.Client) -> str:
    """A client that has had a hundred sequence numbers, eight of them lost."""
    made = add(api, count=2)
    CLOCK.advance(10)
    chosen: str = next(client["id"] for client in made if client["slot"] % 8 == 1)
    return chosen


def test_datagrams_come_newest_last_with_the_lost_ones(api: httpx.Client, lossy: str) -> None:
    datagrams = api.get(f"/api/clients/{lossy}/datagrams").json()["datagrams"]
    assert [one["sequence"] for one in datagrams] == list(range(100))
    assert tuple(datagrams[0]) == DATAGRAM_FIELDS
    lost = [one for one in datagrams if one["fate"] == "lost"]
    assert len(lost) == 8
    assert all(one["cause"] == "link" and one["received_at_ns"] is None for one in lost)
    last = api.get(f"/api/clients/{lossy}/datagrams", params={"limit": 1}).json()["datagrams"]
    assert [one["sequence"] for one in last] == [99]


def test_datagrams_come_as_csv(api: httpx.Client, lossy: str) -> None:
    answer = api.get(f"/api/clients/{lossy}/datagrams", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert tuple(rows[0]) == DATAGRAM_FIELDS
    assert len(rows) == 100
    assert rows[7] == {**rows[7], "fate": "lost", "colour": "", "delay_ms": ""}
    assert rows[8]["payload_hex"].startswith("c701")


def test_datagrams_come_as_json_lines(api: httpx.Client, lossy: str) -> None:
    answer = api.get(f"/api/clients/{lossy}/datagrams", params={"format": "jsonl", "limit": 5})
    assert answer.headers["content-type"].startswith("application/jsonl")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines == api.get(f"/api/clients/{lossy}/datagrams", params={"limit": 5}).json()["datagrams"]


@pytest.mark.parametrize(
    ("query", "field"), [({"format": "xml"}, "format"), ({"limit": 0}, "limit"), ({"limit": 4097}, "limit")]
)
def test_bad_datagrams_query_is_refused(api: httpx.Client, lossy: str, query: dict[str, Any], field: str) -> None:
    problem(api.get(f"/api/clients/{lossy}/datagrams", params=query), 422, "invalid", field)


# sessions, ledger, links, profiles


def test_sessions_are_listed_and_one_can_be_ended(api: httpx.Client) -> None:
    listed = api.get("/api/sessions").json()
    raw = [one["id"] for one in listed["sessions"] if one["kind"] == "raw"]
    assert listed["total"] == len(listed["sessions"])
    assert len(api.get("/api/sessions", params={"limit": 1}).json()["sessions"]) == 1
    assert [one["id"] for one in api.get("/api/sessions", params={"query": raw[0]}).json()["sessions"]] == raw[:1]
    assert api.delete(f"/api/sessions/{raw[-1]}").status_code == 204
    assert raw[-1] not in [one["id"] for one in api.get("/api/sessions").json()["sessions"]]


def test_history_is_told_in_steps_with_events_beside_them(api: httpx.Client) -> None:
    told = api.get("/api/history?from=1700000000&to=1700000003").json()
    assert (told["step_s"], told["from"]) == (1.0, 1_700_000_000.0)
    assert told["columns"]["rate_hz"] == [0, 1, 2]
    assert told["columns"]["jitter_ms"] == [None, None, None]
    assert told["events"][0]["text"] == "link set"


def test_history_as_csv(api: httpx.Client) -> None:
    answer = api.get("/api/history?from=1700000000&to=1700000002&format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text.splitlines()[1].startswith("1700000000.000,0,")


def test_history_that_cannot_be_names_its_field(api: httpx.Client) -> None:
    backwards = api.get("/api/history?from=1700000003&to=1700000000")
    assert (backwards.status_code, backwards.json()["field"]) == (422, "from")
    assert api.get("/api/history?from=nan").status_code == 422
    assert api.get("/api/history?flow=nobody").status_code == 404


def test_whole_ledger_closes(api: httpx.Client, lossy: str) -> None:
    ledger = api.get("/api/ledger").json()
    assert ledger["sent"] == ledger["received"] + ledger["lost"] + ledger["in_flight"]
    assert ledger["lost"] == sum(ledger["lost_by_cause"].values()) == 8


def test_link_is_set_read_and_taken_away(api: httpx.Client) -> None:
    (made,) = add(api)
    for path in (f"/api/links/{made['id']}", "/api/links/default"):
        problem(api.get(path), 404, "no-link", None)
        whole = api.put(path, json={"loss_ratio": 0.1, "burst": {"enter_ratio": 0.01, "leave_ratio": 0.3}}).json()
        assert whole["loss_ratio"] == 0.1
        assert whole["burst"]["enter_ratio"] == 0.01
        assert whole["delay_ms"] == 0
        assert api.get(path).json() == whole
        assert api.put(path, json=whole).json() == whole
        assert api.delete(path).status_code == 204
        problem(api.get(path), 404, "no-link", None)


def test_links_are_summed_up_and_cleared_at_once(api: httpx.Client) -> None:
    (made,) = add(api)
    api.put(f"/api/links/{made['id']}", json={"blackout": True})
    api.put("/api/links/default", json={"blackout": True})
    summed_up = api.get("/api/links").json()
    assert (summed_up["default"], summed_up["clients"]) == (True, 1)
    assert api.delete("/api/links").status_code == 204
    summed_up = api.get("/api/links").json()
    assert (summed_up["default"], summed_up["clients"]) == (False, 0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"loss_ratio": 1.5}, "loss_ratio"),
        ({"loss": 0.1}, "loss"),
        ({"burst": {"enter_ratio": 2}}, "burst.enter_ratio"),
        ({"delay_ms": "10"}, "delay_ms"),
    ],
)
def test_bad_link_is_refused_with_its_field(api: httpx.Client, body: dict[str, Any], field: str) -> None:
    answer = api.put("/api/links/default", json=body)
    assert answer.json()["field"] == field
    assert answer.status_code == 422
    problem(api.get("/api/links/default"), 404, "no-link", None)


@pytest.mark.parametrize("body", [[], "x", 7, None])
def test_link_that_is_no_object_is_refused(api: httpx.Client, body: Any) -> None:
    answer = api.put("/api/links/default", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_every_profile_can_be_set_as_a_link(api: httpx.Client) -> None:
    listed = api.get("/api/profiles").json()["profiles"]
    assert [one["id"] for one in listed] == [profile.id for profile in PROFILES]
    for one in listed:
        assert one["models"]
        assert one["source"]
        assert api.put("/api/links/default", json=one["link"]).json() == one["link"]


# the framework's own answers


def test_unknown_path_is_a_problem() -> None:
    with running() as served, served.client() as client:
        for path in ("/api/nothing", "/api/clients/", "/api", "/api/clients/x/y/z", "/docs", "/redoc", "/.git/config"):
            problem(client.get(path), 404, "not-found", None)


def test_unknown_method_is_a_problem_that_names_the_known_ones(api: httpx.Client) -> None:
    answer = api.put("/api/clients")
    problem(answer, 405, "method-not-allowed", None)
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST", "DELETE"}
    answer = api.post("/api/clients/c-1")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "PATCH", "DELETE"}


def test_bug_is_a_problem_is_logged_and_says_nothing_of_itself(
    here: Running, api: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> dict[str, Any]:
        raise ZeroDivisionError("secret of the house")

    here.bridge.ledger = broken  # type: ignore[method-assign]
    try:
        answer = api.get("/api/ledger")
    finally:
        del here.bridge.ledger
    problem(answer, 500, "bug", None)
    assert "secret" not in answer.text
    wait_for(lambda: "secret of the house" in caplog.text)  # it is raised on after the answer has left
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_api_describes_itself_with_every_route(api: httpx.Client) -> None:
    described = api.get("/api/openapi.json").json()
    assert {"get", "post", "delete"} == set(described["paths"]["/api/clients"])
    fields = described["components"]["schemas"]["AddClients"]["properties"]
    assert set(fields) == {"name", "target", "rate_hz", "colours", "mode", "count"}
    assert described["components"]["schemas"]["AddClients"]["additionalProperties"] is False
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert operation["description"], path
