"""The ring of files of one recording: a bound in bytes; the oldest is deleted first."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from udprism.columns.types import U8Column

_NAME: Final = re.compile(r"(rec-[0-9a-f]{12})-(\d{3,})\.(pcapng|pcap)")


class FileRing:
    """One thread writes; `paths` may be read by any."""

    def __init__(self, folder: Path, recording_id: str, suffix: str, header: bytes, max_bytes: int, max_files: int):
        """header: how each file begins. Raises: OSError if no file can be made there."""
        self.bytes_a_file = max_bytes // max_files
        self.paths: list[Path] = []
        """Those that there are, oldest first."""
        self._folder, self._id, self._suffix, self._header = folder, recording_id, suffix, header
        self._max_files = max_files
        self._number = self._bytes = 0
        self._fd = -1
        self._open_next()

    def write(self, data: U8Column) -> None:
        """Whole packets, into the file or the next one. Raises: OSError."""
        if self._bytes > len(self._header) and self._bytes + len(data) > self.bytes_a_file:
            self._open_next()
            while len(self.paths) > self._max_files:
                oldest, *self.paths = self.paths
                oldest.unlink(missing_ok=True)
        self._put(data)

    def close(self) -> None:
        """The file stays."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _open_next(self) -> None:
        path = self._folder / f"{self._id}-{self._number + 1:03}.{self._suffix}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self.close()
        self._fd, self._bytes = fd, 0
        self._number += 1
        self.paths = [*self.paths, path]
        self._put(self._header)

    def _put(self, data: U8Column | bytes) -> None:
        view = memoryview(data)  # type: ignore[arg-type]  # NumPy arrays are buffers
        while len(view):
            written = os.write(self._fd, view)
            view = view[written:]
            self._bytes += written


def files_in(folder: Path | None, recording_id: str | None = None) -> dict[str, list[Path]]:
    """The files of each recording in a folder, or of one; oldest first. Nothing but regular files counts."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in [] if folder is None or not folder.is_dir() else folder.iterdir():
        name = _NAME.fullmatch(path.name)
        if name is not None and recording_id in (None, name[1]) and path.is_file() and not path.is_symlink():
            found.setdefault(name[1], []).append((int(name[2]), path))
    return {one: [path for _, path in sorted(paths)] for one, paths in found.items()}
