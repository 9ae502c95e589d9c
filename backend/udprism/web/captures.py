"""REST for uploaded capture files: /api/captures and below."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from udprism.errors import RequestError
from udprism.node.bodies import captures as answers
from udprism.node.captures import MAX_CAPTURE_BYTES, Captures
from udprism.web import bodies
from udprism.web.answers import answer
from udprism.web.routes import NO_CONTENT, add_routes

_ALL: Final = "/captures"
_ONE: Final = "/captures/{capture_id}"
_BYTES: Final = f"{_ONE}/bytes"


class AddCapture(bodies.Body):
    """`POST /api/captures`: announces a file of this many bytes."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    bytes: Annotated[int, Field(ge=1)]


class At(bodies.Query):
    """The body's offset in the file."""

    at: Annotated[int, Field(ge=0, le=MAX_CAPTURE_BYTES)] = 0


class CaptureRoutes:
    """The routes of the captures that were uploaded to one program."""

    def __init__(self, captures: Captures) -> None:
        self._captures = captures

    def add_to(self, router: APIRouter) -> None:
        """All of them, under /api."""
        routes = (
            ("GET", _ALL, self.list_captures, answers.CaptureList),
            ("POST", _ALL, self.add_capture, answers.BegunCapture),
            ("GET", _ONE, self.get_capture, answers.Capture),
            ("DELETE", _ONE, self.remove_capture, None),
            ("GET", f"{_ONE}/inspection", self.inspect_capture, answers.Inspected),
        )
        add_routes(router, routes, created=(_ALL,))
        binary = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}
        router.add_api_route(
            _BYTES,
            self.put_bytes,
            methods=["PUT"],
            response_model=answers.Capture,
            openapi_extra={"requestBody": binary},
        )

    async def list_captures(self) -> Response:
        """The captures uploaded since the program started, oldest first."""
        captures = self._captures.every()
        return answer({"captures": captures, "total": len(captures)})

    async def add_capture(self, body: AddCapture) -> Response:
        """Announce a capture file. Its bytes then follow in pieces, because bodies are bounded.

        The newest 16 are kept: `dropped` is the id of the one that made room, if any.
        """
        return answer(await self._captures.add(body.name, body.bytes), 201)

    async def put_bytes(self, capture_id: str, query: Annotated[At, Query()], request: Request) -> Response:
        """Upload up to 64 KiB of the file, from offset `at` on. `received` is the offset of the next piece."""
        data = await request.body()
        if not data:
            raise RequestError("the body holds no bytes of the file", kind="invalid")
        return answer(await self._captures.write(capture_id, query.at, data))

    async def get_capture(self, capture_id: str) -> Response:
        """One capture, and how much of it has been received."""
        return answer(self._captures.get(capture_id))

    async def inspect_capture(self, capture_id: str) -> Response:
        """What is in a capture: flows with ledgers, delays between interfaces; as `udprism inspect --json`."""
        return answer(await self._captures.inspect(self._captures.path(capture_id)))

    async def remove_capture(self, capture_id: str) -> Response:
        """Delete a capture. A replay of it continues."""
        await self._captures.remove(capture_id)
        return Response(status_code=NO_CONTENT)
