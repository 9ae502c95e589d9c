"""A capture file in memory, without keeping it there."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from udprism.columns.types import U8Column
from udprism.errors import RequestError


@contextmanager
def mapped(path: Path) -> Iterator[U8Column]:
    """A file's bytes, read from the disk as they are looked at.

    A file that another program cuts while it is read here ends the process (SIGBUS). Raises: RequestError, if it
    cannot be read or is empty.
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
    yield np.frombuffer(pages, np.uint8)
