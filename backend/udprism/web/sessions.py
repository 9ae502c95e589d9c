"""REST for the colour server's sessions: /api/sessions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from udprism.node import bodies as answers
from udprism.node.sessions import Sessions
from udprism.web import bodies
from udprism.web.answers import answer
from udprism.web.routes import add_routes


class SessionRoutes:
    """The routes of a bridge's sessions."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def add_to(self, router: APIRouter) -> None:
        """All of them, under /api."""
        routes = (
            ("GET", "/sessions", self.list_sessions, answers.SessionList),
            ("DELETE", "/sessions/{session_id}", self.end_session, None),
        )
        add_routes(router, routes)

    async def list_sessions(self, query: Annotated[bodies.SessionsQuery, Query()]) -> Response:
        """The sessions that the colour server serves, raw clients first, and the raw clients that left."""
        sessions, total = await self._sessions.page(query.limit, query.query)
        return answer({"sessions": sessions, "total": total, "left": await self._sessions.left()})

    async def end_session(self, session_id: str) -> Response:
        """End one session; a client on a measured stream gets a BYE."""
        await self._sessions.end(session_id)
        return Response(status_code=204)
