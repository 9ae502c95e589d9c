"""The API's description says what every route takes and gives, and can be read and tried on this machine alone."""

from __future__ import annotations

from typing import Any, get_args

import httpx
import pytest

from udprism.errors import Kind
from udprism.web import problem
from udprism.web.app import create_app
from web.fake_bridge import FakeBridge
from web.running import running

DOCUMENT: dict[str, Any] = create_app(FakeBridge()).openapi()  # type: ignore[arg-type]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """What a reference leads to."""
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    return DOCUMENT["components"]["schemas"][name] if name else schema


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_has_a_schema(name: str) -> None:
    responses = OPERATIONS[name]["responses"]
    for status, response in responses.items():
        assert status in ("204", "426") or response["content"], status
        for media_type, content in response.get("content", {}).items():
            for one in content["schema"].get("anyOf", [content["schema"]]):
                schema = resolved(one)
                assert schema["type"] == ("object" if media_type.endswith("json") else "string"), media_type
                assert schema["type"] == "string" or schema["properties"]
    assert resolved(responses["4XX"]["content"][problem.MEDIA_TYPE]["schema"])["title"] == "Problem"


def test_every_field_of_an_answer_is_always_there() -> None:
    for name in ("Client", "Ledger", "WholeLedger", "Datagram", "Session", "Link"):
        schema = DOCUMENT["components"]["schemas"][name]
        assert schema["required"] == list(schema["properties"]), name


def test_every_kind_of_error_has_its_status() -> None:
    assert set(problem.STATUS) == set(get_args(Kind))


def test_document_names_no_server_but_the_one_that_it_came_from() -> None:
    assert [server["url"] for server in DOCUMENT["servers"]] == [".."]


def test_document_can_be_read_as_a_page_from_this_machine_alone() -> None:
    with running() as here, here.client() as client:
        page = client.get("/api/docs")
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "data:" not in client.get("/").headers["content-security-policy"]
        named = [part.split('"')[0] for part in page.text.replace("src=", "href=").split('href="')[1:]]
        assert len(named) == 5
        for address in named:
            answer = client.get(str(httpx.URL("/api/docs").join(address)))
            assert answer.status_code == 200, address
            assert answer.headers["cache-control"] in ("no-cache", "no-store")
        for other in ("/api/docs/redoc.standalone.js", "/api/docs/..%2fcore.py", "/api/docs/"):
            assert client.get(other).status_code == 404
