"""REST for recordings: /api/recordings and below."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response, StreamingResponse

from udprism.errors import RequestError
from udprism.node.bodies import recordings as answers
from udprism.node.bodies.captures import Inspected
from udprism.node.captures import Captures
from udprism.node.recordings import MIN_FILE_BYTES, Recordings
from udprism.web import bodies
from udprism.web.answers import answer
from udprism.web.routes import NO_CONTENT, add_routes

MAX_BYTES: Final = 1 << 40
MAX_FILES: Final = 1000
MAX_FLOWS: Final = 1000
_PIECE_BYTES: Final = 1 << 18
_ALL: Final = "/recordings"
_ONE: Final = "/recordings/{recording_id}"
_MEDIA_TYPES: Final = {".pcapng": "application/x-pcapng", ".pcap": "application/vnd.tcpdump.pcap"}


class AddRecording(bodies.Body):
    """`POST /api/recordings`: everything has a default."""

    flows: Annotated[list[str], Field(min_length=1, max_length=MAX_FLOWS)] | Literal["all"] = "all"
    format: Literal["pcapng", "pcap"] = "pcapng"
    max_bytes: Annotated[int, Field(ge=MIN_FILE_BYTES, le=MAX_BYTES)] = 100_000_000
    max_files: Annotated[int, Field(ge=1, le=MAX_FILES)] | None = None


_USUAL: Final = AddRecording()


class FileQuery(bodies.Body):
    """Which file of a recording."""

    name: str | None = None


class RecordingRoutes:
    """The routes of one program's recordings."""

    def __init__(self, recordings: Recordings, captures: Captures) -> None:
        self._recordings, self._captures = recordings, captures

    def add_to(self, router: APIRouter) -> None:
        """All of them, under /api."""
        routes = (
            ("GET", _ALL, self.list_recordings, answers.RecordingList),
            ("POST", _ALL, self.add_recording, answers.Recording),
            ("GET", _ONE, self.get_recording, answers.Recording),
            ("DELETE", _ONE, self.remove_recording, None),
            ("POST", f"{_ONE}/stop", self.stop_recording, answers.Recording),
            ("GET", f"{_ONE}/inspection", self.inspect_recording, Inspected),
        )
        add_routes(router, routes, created=(_ALL,))
        files = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _MEDIA_TYPES.values()}
        router.add_api_route(
            f"{_ONE}/file",
            self.get_file,
            methods=["GET"],
            response_class=FileResponse,
            responses={200: {"description": "The file", "content": files}},
        )

    async def list_recordings(self) -> Response:
        """All recordings, including those of earlier runs, oldest first."""
        recordings = await self._recordings.every()
        return answer({"recordings": recordings, "total": len(recordings)})

    async def add_recording(self, body: AddRecording = _USUAL) -> Response:
        """Record datagrams where they leave the colour server and where hosted clients receive them.

        When the files together would exceed `max_bytes`, the oldest of `max_files` is deleted.
        """
        flows = None if body.flows == "all" else body.flows
        return answer(await self._recordings.add(flows, body.format, body.max_bytes, body.max_files), 201)

    async def get_recording(self, recording_id: str) -> Response:
        """One recording."""
        return answer(await self._recordings.get(recording_id))

    async def stop_recording(self, recording_id: str) -> Response:
        """End a recording; its files stay."""
        return answer(await self._recordings.stop_one(recording_id))

    async def remove_recording(self, recording_id: str) -> Response:
        """End a recording and delete its files."""
        await self._recordings.remove(recording_id)
        return Response(status_code=NO_CONTENT)

    async def inspect_recording(self, recording_id: str, query: Annotated[FileQuery, Query()]) -> Response:
        """What is in all files of a recording, or in the one of this name: as `udprism inspect --json`."""
        if query.name is not None:
            return answer(await self._captures.inspect(await self._file(recording_id, query.name)))
        return answer(await self._captures.inspect(*await self._recordings.files(recording_id)))

    async def _file(self, recording_id: str, name: str | None) -> Path:
        files = {path.name: path for path in await self._recordings.files(recording_id)}
        name = name if name is not None else list(files)[-1]
        if name not in files:
            raise RequestError(f"this recording has {', '.join(files)}", field="name", kind="not-found")
        return files[name]

    async def get_file(self, recording_id: str, query: Annotated[FileQuery, Query()]) -> Response:
        """The newest file of a recording, or the one of this name. Of a file that is still growing, what exists now."""
        path = await self._file(recording_id, query.name)
        name = path.name
        if not self._recordings.is_running(recording_id):
            return FileResponse(path, media_type=_MEDIA_TYPES[path.suffix], filename=name)
        try:
            file = await asyncio.to_thread(open, path, "rb")
        except FileNotFoundError:
            raise RequestError(f"{name} has made room for a newer file", field="name", kind="not-found") from None
        size = os.fstat(file.fileno()).st_size
        headers = {"content-length": str(size), "content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(
            _beginning(file, size),
            media_type=_MEDIA_TYPES[path.suffix],
            headers=headers,
            background=BackgroundTask(file.close),  # HEAD reads nothing
        )


def _beginning(file: BinaryIO, size: int) -> Iterator[bytes]:
    """This many bytes of a file, which is then closed."""
    with file:
        while size and (piece := file.read(min(size, _PIECE_BYTES))):
            size -= len(piece)
            yield piece
