"""REST for senders: /api/senders and below."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Body
from pydantic import Field
from starlette.responses import Response

from udprism.node import bodies as shapes
from udprism.node.bodies import senders as answers
from udprism.node.receiver_plan import MAX_NAME_CHARACTERS
from udprism.node.sender_plan import MAX_PIXELS
from udprism.node.senders import Senders
from udprism.web import bodies
from udprism.web.answers import answer
from udprism.web.relays import Address
from udprism.web.routes import NO_CONTENT, add_routes
from udprism.wire.formats import FormatName

_ALL: Final = "/senders"
_ONE: Final = "/senders/{sender_id}"


class AddSender(bodies.Body):
    """`POST /api/senders`. colours: pixels. pattern: random, solid, chase, rainbow, a colour's name or #rrggbb."""

    format: FormatName
    target: Address
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)] | None = None
    rate_hz: bodies.RateHz | None = None
    colours: Annotated[int, Field(ge=1, le=MAX_PIXELS)] | None = None
    pattern: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    universe: Annotated[int, Field(ge=0, le=63_999)] | None = None
    link: bodies.LinkBody | None = None


class SenderRoutes:
    """The routes of one program's senders."""

    def __init__(self, senders: Senders) -> None:
        self._senders = senders

    def add_to(self, router: APIRouter) -> None:
        """All of them, under /api."""
        routes = (
            ("GET", _ALL, self.list_senders, answers.SenderList),
            ("POST", _ALL, self.add_sender, answers.Sender),
            ("GET", _ONE, self.get_sender, answers.Sender),
            ("DELETE", _ONE, self.remove_sender, None),
            ("GET", _ONE + "/link", self.get_sender_link, shapes.Link),
            ("PUT", _ONE + "/link", self.put_sender_link, shapes.Link),
            ("DELETE", _ONE + "/link", self.remove_sender_link, None),
        )
        add_routes(router, routes, created=(_ALL,))

    async def list_senders(self) -> Response:
        """All senders, in the order in which they were started."""
        senders = await self._senders.every()
        return answer({"senders": senders, "total": len(senders)})

    async def add_sender(self, body: AddSender) -> Response:
        """Send a test pattern in one format to a target, which must be one that hosted clients may have.

        A picture that moves is sent `rate_hz` times per second, a still one as often as its format wants it refreshed.
        """
        return answer(await self._senders.add(body.model_dump()), 201)

    async def get_sender(self, sender_id: str) -> Response:
        """One sender, with the sums of what departed."""
        return answer(await self._senders.get(sender_id))

    async def remove_sender(self, sender_id: str) -> Response:
        """End a sender, with its format's goodbye."""
        await self._senders.remove(sender_id)
        return Response(status_code=NO_CONTENT)

    async def get_sender_link(self, sender_id: str) -> Response:
        """The link through which it sends."""
        return answer(self._senders.link(sender_id))

    async def put_sender_link(self, sender_id: str, body: Annotated[bodies.LinkBody, Body()]) -> Response:
        """Send through this link from now on."""
        return answer(await self._senders.set_link(sender_id, body))

    async def remove_sender_link(self, sender_id: str) -> Response:
        """Remove it: everything passes."""
        await self._senders.set_link(sender_id, None)
        return Response(status_code=NO_CONTENT)
