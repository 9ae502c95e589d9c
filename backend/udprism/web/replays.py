"""REST for replays: /api/replays and below."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from udprism.node.bodies import replays as answers
from udprism.node.replays import Asked, Replays
from udprism.web import bodies
from udprism.web.answers import answer
from udprism.web.relays import Address
from udprism.web.routes import NO_CONTENT, add_routes

MIN_SPEED: Final = 0.001
MAX_SPEED: Final = 1000.0
MAX_LOOPS: Final = 1_000_000
_ALL: Final = "/replays"
_ONE: Final = "/replays/{replay_id}"
_Id = Annotated[str, Field(min_length=1, max_length=64)]


class AddReplay(bodies.Body):
    """`POST /api/replays`: one of recording and file (the id of an upload), and a target. loop 0: until it is
    stopped."""

    target: Address
    recording: _Id | None = None
    file: _Id | None = None
    interface: Annotated[int, Field(ge=0, le=65_535)] | Annotated[str, Field(max_length=256)] | None = None
    speed: Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False)] = 1.0
    loop: Annotated[int, Field(ge=0, le=MAX_LOOPS)] = 1
    filter: Annotated[str, Field(max_length=1000)] = ""
    link: bodies.LinkBody | None = None


class ReplayRoutes:
    """The routes of one program's replays."""

    def __init__(self, replays: Replays) -> None:
        self._replays = replays

    def add_to(self, router: APIRouter) -> None:
        """All of them, under /api."""
        routes = (
            ("GET", _ALL, self.list_replays, answers.ReplayList),
            ("POST", _ALL, self.add_replay, answers.Replay),
            ("GET", _ONE, self.get_replay, answers.Replay),
            ("DELETE", _ONE, self.remove_replay, None),
            ("POST", f"{_ONE}/stop", self.stop_replay, answers.Replay),
        )
        add_routes(router, routes, created=(_ALL,))

    async def list_replays(self) -> Response:
        """All replays, including those that ended recently, in the order in which they were started."""
        replays = self._replays.every()
        return answer({"replays": replays, "total": len(replays)})

    async def add_replay(self, body: AddReplay) -> Response:
        """Send the UDP payloads of a recording or of an uploaded capture again, with their original timing, through a
        link.

        One interface's datagrams are sent: that of the first one, if none is named. The target must be one that hosted
        clients may have.
        """
        given = body.model_dump()
        return answer(await self._replays.add(Asked(**given | {"link": given["link"] or {}})), 201)

    async def get_replay(self, replay_id: str) -> Response:
        """One replay, with the sums of what departed and what was skipped."""
        return answer(self._replays.get(replay_id))

    async def stop_replay(self, replay_id: str) -> Response:
        """End a replay. Its sums stay."""
        return answer(await self._replays.stop_one(replay_id))

    async def remove_replay(self, replay_id: str) -> Response:
        """End a replay and forget it."""
        await self._replays.remove(replay_id)
        return Response(status_code=NO_CONTENT)
