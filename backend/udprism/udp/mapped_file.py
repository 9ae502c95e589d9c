"""Maps a capture file into memory, without keeping all of it there."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from udprism.columns.types import U8Column
from udprism.errors import RequestError

_STEP_BYTES: Final = 32 << 20


class MappedFile:
    """A file's bytes, read from the disk as they are looked at."""

    def __init__(self, pages: mmap.mmap) -> None:
        self._pages = pages
        self._forgotten = 0
        self.data: Final[U8Column] = np.frombuffer(pages, np.uint8)

    def forget(self, before: int) -> None:
        """What lies before that offset is not looked at soon: its pages need not count as this process's memory."""
        if before - self._forgotten >= _STEP_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            until = before // mmap.PAGESIZE * mmap.PAGESIZE
            self._pages.madvise(mmap.MADV_DONTNEED, self._forgotten, until - self._forgotten)
            self._forgotten = until
        elif before < self._forgotten:
            self._forgotten = 0  # read once more from the beginning


@contextmanager
def mapped(path: Path) -> Iterator[MappedFile]:
    """A file that another program cuts while it is read here ends the process (SIGBUS).

    Raises: RequestError, if it cannot be read or is empty.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise RequestError(f"{path} is empty", field="file")
            pages = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}", field="file") from None
    if hasattr(pages, "madvise"):
        pages.madvise(mmap.MADV_SEQUENTIAL)
    yield MappedFile(pages)
