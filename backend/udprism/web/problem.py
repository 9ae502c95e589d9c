"""Errors as RFC 9457 problem details: a stable `type`, the field at fault, and the accepted values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import (
    Final,
    NotRequired,  # pydantic wants this one before Python 3.12
)

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path
from typing_extensions import TypedDict

from udprism.errors import Kind, RequestError, StoreError
from udprism.web import bodies


class Fault(TypedDict):
    """One of several."""

    field: str | None
    detail: str


class Problem(TypedDict):
    """RFC 9457. `type` is stable, for programs; `field` is the one at fault, in dotted notation."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None
    errors: NotRequired[list[Fault]]


MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:udprism:problem:"
RETRY_AFTER_S: Final = 5
MAX_FAULTS: Final = 20
"""Faults of one body that are listed: an attacker's body may hold thousands."""

STATUS: Final[Mapping[Kind, int]] = {
    "invalid": 422,
    "not-found": 404,
    "no-link": 404,
    "no-datagrams": 404,
    "name-taken": 409,
    "too-many-clients": 409,
    "no-socket": 409,
    "hosted-session": 409,
    "too-many-relays": 409,
    "too-many-receivers": 409,
    "too-many-senders": 409,
    "scenario-runs": 409,
    "cannot-bind": 409,
    "not-stored": 409,
    "too-many-recordings": 409,
    "too-many-replays": 409,
    "not-whole": 409,
    "whole": 409,
    "unreadable": 422,
    "relay-down": 503,
    "target-not-allowed": 403,
    "busy": 503,
    "too-many-viewers": 503,
    "not-kept": 507,
    "no-node": 404,
    "node-unreachable": 503,
    "remote-off": 403,
    "never-done": 503,
    "outcome-unknown": 504,
}
"""HTTP's status code for each kind of error."""

_HTML_ESCAPES: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})

_FRAMEWORK: Final = {
    400: ("invalid", "the body is not JSON"),
    404: ("not-found", "nothing exists at this path; /api/openapi.json lists all paths"),
    405: ("method-not-allowed", "this path has other methods: see the Allow header"),
    413: ("too-large", "a body has at most 65536 bytes"),
}


def response(
    status: int,
    kind: str,
    detail: str,
    *,
    field: str | None = None,
    errors: list[Fault] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem; what came from outside cannot act as markup, even if a browser guesses the type."""
    body: Problem = {
        "type": TYPE_PREFIX + kind,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "field": field,
    }
    if errors is not None:
        body["errors"] = errors
    content = json.dumps(body).translate(_HTML_ESCAPES)
    return Response(content, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem."""
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(StoreError, _not_kept)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(500, _bug)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return from_request_error(error)


def from_request_error(error: RequestError) -> Response:
    """The problem that the bridge named."""
    status = STATUS[error.kind]
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return response(status, error.kind, error.detail, field=error.field, headers=headers)


async def _not_kept(request: Request, error: Exception) -> Response:
    return response(507, "not-kept", f"the change was not made, because it could not be written: {error}")


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if error.errors()[0]["loc"] == ("body",) and "json" not in request.headers.get("content-type", ""):
        return response(415, "not-json", "send the body as JSON, with `Content-Type: application/json`")
    faults = [bodies.fault(one) for one in error.errors()[:MAX_FAULTS]]
    listed: list[Fault] = [{"field": field or None, "detail": detail} for field, detail in faults]
    field, detail = faults[0]
    return response(422, "invalid", detail, field=field or None, errors=listed)


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind, detail = _FRAMEWORK.get(error.status_code, ("refused", HTTPStatus(error.status_code).phrase))
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": _methods_at(request.app, request.url.path)}
    return response(error.status_code, kind, detail, headers=headers)


def _methods_at(app: FastAPI, path: str) -> str:
    """All methods of a path. The framework names those of the first of its routes only, and of files none."""
    for template, operations in app.openapi()["paths"].items():
        if compile_path(template)[0].fullmatch(path):
            methods = [method.upper() for method in operations]
            return ", ".join(["HEAD", *methods] if "GET" in methods else methods)
    return "GET, HEAD"


async def _bug(request: Request, error: Exception) -> Response:
    return response(500, "bug", "this is a defect of udprism; its log holds the cause")
