"""Routes with the shapes of their responses, so that the API's description has both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from udprism.web import openapi

CREATED: Final = 201
NO_CONTENT: Final = 204

Route = tuple[str, str, Callable[..., Any], Any]
"""Method, path, endpoint and the shape of its JSON; None if it answers without a body."""


def add_routes(router: APIRouter, routes: Iterable[Route], created: Iterable[str] = ()) -> None:
    """created: paths whose POST makes something, and answers 201.

    The shape is for the description only: what is sent is held to it by tests, not at each request.
    """
    for method, path, endpoint, body in routes:
        is_made = method == "POST" and path in created
        router.add_api_route(
            path,
            endpoint,
            methods=[method],
            status_code=NO_CONTENT if body is None else CREATED if is_made else 200,
            response_model=body,
            response_class=Response if body is None else JSONResponse,
            responses=openapi.text(*openapi.FORMATS.get(path.rpartition("/")[2], ())),
        )
