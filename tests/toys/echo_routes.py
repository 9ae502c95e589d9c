"""REST for echoes."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response
from udprism.node.echoes import Echoes

from udprism.node.bodies import echoes as answers
from udprism.web import bodies
from udprism.web.answers import answer
from udprism.web.routes import NO_CONTENT, add_routes


class AddEcho(bodies.Body):
    """`POST /api/echoes`."""

    listen: str


class EchoRoutes:
    """The routes of one program's echoes."""

    def __init__(self, echoes: Echoes) -> None:
        self._echoes = echoes

    def add_to(self, router: APIRouter) -> None:
        routes = (
            ("GET", "/echoes", self.list_echoes, answers.EchoList),
            ("POST", "/echoes", self.add_echo, answers.Echo),
            ("DELETE", "/echoes/{echo_id}", self.remove_echo, None),
        )
        add_routes(router, routes, created=("/echoes",))

    async def list_echoes(self) -> Response:
        """All of them."""
        echoes = self._echoes.every()
        return answer({"echoes": echoes, "total": len(echoes)})

    async def add_echo(self, body: AddEcho) -> Response:
        """Send back what comes to a port."""
        return answer(await self._echoes.add(body.listen), 201)

    async def remove_echo(self, echo_id: str) -> Response:
        """End one."""
        await self._echoes.remove(echo_id)
        return Response(status_code=NO_CONTENT)
