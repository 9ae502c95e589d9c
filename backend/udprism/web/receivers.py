"""REST for receivers: /api/receivers and below."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from udprism.node.bodies import receivers as answers
from udprism.node.receiver_plan import MAX_CLOCK_HZ, MAX_NAME_CHARACTERS, MAX_PIXELS, MAX_UNIVERSES
from udprism.node.receivers import Receivers
from udprism.web import bodies
from udprism.web.answers import answer
from udprism.web.relays import Address
from udprism.web.routes import NO_CONTENT, add_routes
from udprism.wire.formats import FormatName

_ALL: Final = "/receivers"
_ONE: Final = "/receivers/{receiver_id}"


class AddReceiver(bodies.Body):
    """`POST /api/receivers`: only the format is required, if it has a usual port."""

    format: FormatName
    listen: Address | None = None
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)] | None = None
    lamp: Address | None = None
    pixels: Annotated[int, Field(ge=1, le=MAX_PIXELS)] | None = None
    interface: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)] | None = None
    universes: Annotated[list[int], Field(min_length=1, max_length=MAX_UNIVERSES)] | None = None
    clock_hz: Annotated[int, Field(ge=1, le=MAX_CLOCK_HZ)] | None = None


class ReceiverRoutes:
    """The routes of one program's receivers."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers

    def add_to(self, router: APIRouter) -> None:
        """All of them, under /api."""
        routes = (
            ("GET", _ALL, self.list_receivers, answers.ReceiverList),
            ("POST", _ALL, self.add_receiver, answers.Receiver),
            ("GET", _ONE, self.get_receiver, answers.Receiver),
            ("DELETE", _ONE, self.remove_receiver, None),
        )
        add_routes(router, routes, created=(_ALL,))

    async def list_receivers(self) -> Response:
        """All receivers, in the order in which they were started."""
        receivers = await self._receivers.every()
        return answer({"receivers": receivers, "total": len(receivers)})

    async def add_receiver(self, body: AddReceiver) -> Response:
        """Listen on a port in one format: each sender's datagrams become flows.

        Without `listen`, the format's usual port on 127.0.0.1. Beyond loopback only this machine's own networks are
        heard. `lamp`: where to answer over HTTP as a virtual WLED lamp, HOST:PORT, so that programs find the receiver.
        `interface`, for e131: the name of the interface on which to join the multicast groups of `universes` ([1] if
        not given); without it only unicast is heard. `clock_hz`, for rtp: the clock of payload types that have no fixed
        one, such as 90000; without it their jitter is null.
        """
        asked = (body.name, body.format, body.listen, body.lamp, body.pixels)
        return answer(await self._receivers.add(*asked, body.interface, body.universes, body.clock_hz), 201)

    async def get_receiver(self, receiver_id: str) -> Response:
        """One receiver, with the ids of its flows."""
        return answer(await self._receivers.get(receiver_id))

    async def remove_receiver(self, receiver_id: str) -> Response:
        """End a receiver, and forget its flows."""
        await self._receivers.remove(receiver_id)
        return Response(status_code=NO_CONTENT)
