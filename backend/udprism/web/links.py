"""REST for links: /api/links and below."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from starlette.responses import Response

from udprism.errors import RequestError
from udprism.node import bodies as answers
from udprism.node.links import Links
from udprism.web import bodies
from udprism.web.answers import answer
from udprism.web.routes import add_routes


class LinkRoutes:
    """The routes of a bridge's links."""

    def __init__(self, links: Links) -> None:
        self._links = links

    def add_to(self, router: APIRouter) -> None:
        """All of them, under /api."""
        routes = (
            ("GET", "/links", self.sum_up_links, answers.Links),
            ("DELETE", "/links", self.remove_links, None),
            ("GET", "/links/default", self.get_default_link, answers.Link),
            ("PUT", "/links/default", self.put_default_link, answers.Link),
            ("DELETE", "/links/default", self.remove_default_link, None),
            ("GET", "/links/{owner_id}", self.get_link, answers.Link),
            ("PUT", "/links/{owner_id}", self.put_link, answers.Link),
            ("DELETE", "/links/{owner_id}", self.remove_link, None),
        )
        add_routes(router, routes)

    async def sum_up_links(self) -> Response:
        """Whether there is a default link, and how many clients and sessions have links of their own."""
        return answer(await self._links.summary())

    async def remove_links(self) -> Response:
        """Remove all links: the default one, and those of clients and sessions."""
        await self._links.clear()
        return Response(status_code=204)

    async def get_default_link(self) -> Response:
        """The default link: of all clients and sessions without one of their own."""
        return _link(await self._links.get_default())

    async def put_default_link(self, body: Annotated[bodies.LinkBody, Body()]) -> Response:
        """Set it, from the next datagram on. Omitted fields are off."""
        return answer(await self._links.put_default(body))

    async def remove_default_link(self) -> Response:
        """Remove it."""
        await self._links.remove_default()
        return Response(status_code=204)

    async def get_link(self, owner_id: str) -> Response:
        """A client's or session's own link."""
        return _link(await self._links.get(owner_id))

    async def put_link(self, owner_id: str, body: Annotated[bodies.LinkBody, Body()]) -> Response:
        """Set it, from the next datagram on. Omitted fields are off."""
        return answer(await self._links.put(owner_id, body))

    async def remove_link(self, owner_id: str) -> Response:
        """Remove it: the default link applies again."""
        await self._links.remove(owner_id)
        return Response(status_code=204)


def _link(body: dict[str, Any] | None) -> Response:
    if body is None:
        raise RequestError("no link is set here; PUT sets one", kind="no-link")
    return answer(body)
