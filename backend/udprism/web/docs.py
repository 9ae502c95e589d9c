"""/api/docs: the API's description, to read and to try, from local files only."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from udprism.web import guard

_VIEWER_FILES: Final = ("swagger-ui.css", "swagger-ui-bundle.js")
_POLICY: Final = guard.CONTENT_POLICY.replace("default-src 'self'", "default-src 'self'; img-src 'self' data:")
"""The viewer's style sheet has its pictures in itself."""


class Docs:
    """Swagger UI, from a package that ships its files."""

    def __init__(self, page: Path) -> None:
        """page: the directory of the page's files."""
        self._index = page / "docs" / "api.html"
        found = find_spec("fastapi_offline")  # for its files: its code is for another way to make an app
        assert found is not None
        assert found.submodule_search_locations is not None
        self._viewer = Path(found.submodule_search_locations[0]) / "static"

    def router(self) -> APIRouter:
        """The page and the viewer's files."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/api/docs", self.index, methods=["GET"], response_class=Response)
        router.add_api_route("/api/docs/{name}", self.file, methods=["GET"], response_class=Response)
        return router

    async def index(self) -> Response:
        """The page."""
        return FileResponse(self._index, headers={"Cache-Control": "no-cache", "Content-Security-Policy": _POLICY})

    async def file(self, name: str) -> Response:
        """One of the viewer's files."""
        if name not in _VIEWER_FILES:
            raise HTTPException(404)
        return FileResponse(self._viewer / name, headers={"Cache-Control": "no-cache"})
